export PATH="$PWD/.venv/bin:$PATH"

# what uses most memory
superagent processes list --sort memory --limit 5

# one process: a number and when it began, so that no other one is ever meant
sleep 60 &
start=$(superagent processes info $! --json | grep -o '"start_time": *[0-9]*' | grep -o '[0-9]*$')
superagent processes kill $! --expected-start-time "$start"
