-- What wrk sends and how it reports. Everything comes by the environment: a key on a command line is seen by everybody.
--   BENCH_METHOD, BENCH_BODY, BENCH_HEADERS (one `Name: value` a line)
--   BENCH_COUNT=1: each `@N@` in the body becomes the number of the request
wrk.method = os.getenv("BENCH_METHOD")
wrk.body = os.getenv("BENCH_BODY")
for name, value in os.getenv("BENCH_HEADERS"):gmatch("([^\n:]+): ([^\n]*)") do
  wrk.headers[name] = value
end

-- without a function `request` wrk makes the bytes of the request once, which costs it nothing afterwards
if os.getenv("BENCH_COUNT") == "1" then
  local number = 0
  local body = wrk.body
  request = function()
    number = number + 1
    return wrk.format(nil, nil, nil, (body:gsub("@N@", number)))
  end
end

done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nBENCH {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
