-- Publish events of SIZE bytes, COUNT to a request, each of an object of its own, TENANTS in turn; each connection rests
-- PAUSE_MS on average. A request's length is always the same, so all but its numbers is put together once.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long s; long ns; } moment;
int clock_gettime(int clock, moment *now);
]]

local COUNT = tonumber(os.getenv("BENCH_COUNT") or "1")
local SIZE = tonumber(os.getenv("BENCH_SIZE") or "500")
local TENANTS = tonumber(os.getenv("BENCH_TENANTS") or "1")
local TIMED = os.getenv("BENCH_TIMED") == "1"
local PAUSE_MS = tonumber(os.getenv("BENCH_PAUSE_MS") or "0")

local EVENT = '{"tenant":"%04d","object":"item","action":"update","object_id":"%s-%010d","data":{"t":"%019d","text":"%s"}}'

local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set("thread", threads)
end

local before, text, run, number = "", "", "", 0
local now = ffi.new("moment")

function init(args)
    run = string.format("%x-%d", os.time(), thread)
    text = string.rep("x", SIZE - #string.format(EVENT, 0, run, 0, 0, ""))
    wrk.method = "POST"
    wrk.headers["content-type"] = "application/json"
    wrk.headers["authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "none")
    local length = COUNT == 1 and SIZE or COUNT * SIZE + COUNT + 1
    local request = wrk.format(nil, nil, nil, string.rep(" ", length))
    before = request:sub(1, #request - length)
end

local function event(moment)
    number = number + 1
    return string.format(EVENT, number % TENANTS, run, number, moment, text)
end

function request()
    local moment = 0
    if TIMED then
        ffi.C.clock_gettime(1, now)
        moment = tonumber(now.s) * 1000000000 + tonumber(now.ns)
    end
    if COUNT == 1 then return before .. event(moment) end
    local events = {}
    for place = 1, COUNT do events[place] = event(moment) end
    return before .. "[" .. table.concat(events, ",") .. "]"
end

if PAUSE_MS > 0 then
    -- Uniform around the mean, so that the connections do not march in step.
    function delay() return math.random(0, 2 * PAUSE_MS) end
end
