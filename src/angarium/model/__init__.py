"""Hold what Angarium speaks of, as frozen values: events, subscriptions, deliveries, and what goes over the wire."""
