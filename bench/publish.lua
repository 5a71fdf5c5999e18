-- Publish events of SIZE bytes, COUNT to a request, each of an object of its own, TENANTS in turn; each connection rests
-- PAUSE_MS on average. All requests are made before the first is sent, except those that carry their own moment (TIMED).
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long s; long ns; } moment;
int clock_gettime(int clock, moment *now);
]]

local COUNT = tonumber(os.getenv("BENCH_COUNT") or "1")
local SIZE = tonumber(os.getenv("BENCH_SIZE") or "500")
local TIMED = os.getenv("BENCH_TIMED") == "1"
local PAUSE_MS = tonumber(os.getenv("BENCH_PAUSE_MS") or "0")
local TENANTS = tonumber(os.getenv("BENCH_TENANTS") or "1")
local POOL = tonumber(os.getenv("BENCH_POOL") or "4000")

local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set("thread", threads)
end

local function event(number, moment)
    local head = string.format(
        '{"tenant":"%d","object":"item","action":"update","object_id":"%d-%d","data":{"t":%s,"text":"',
        number % TENANTS, thread, number, moment)
    return head .. string.rep("x", SIZE - #head - 3) .. '"}}'
end

local function body(number, moment)
    if COUNT == 1 then return event(number, moment) end
    local events = {}
    for place = 1, COUNT do events[place] = event(number * COUNT + place, moment) end
    return "[" .. table.concat(events, ",") .. "]"
end

local made, turn = {}, 0
local now = ffi.new("moment")

function init(args)
    wrk.method = "POST"
    wrk.headers["content-type"] = "application/json"
    wrk.headers["authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "none")
    if TIMED then return end
    for number = 1, math.max(1, math.floor(POOL / COUNT)) do made[number] = wrk.format(nil, nil, nil, body(number, "0")) end
end

function request()
    turn = turn + 1
    if not TIMED then return made[turn % #made + 1] end
    ffi.C.clock_gettime(1, now)
    return wrk.format(nil, nil, nil, body(turn, string.format("%d%09d", tonumber(now.s), tonumber(now.ns))))
end

if PAUSE_MS > 0 then
    -- Uniform around the mean, so that the connections do not march in step.
    function delay() return math.random(0, 2 * PAUSE_MS) end
end
