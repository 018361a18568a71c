export PATH="$PWD/.venv/bin:$PATH"

# a command line, contained: no network, limits on everything; what it changes is shown and can be taken back
superagent shell run "echo hello > greeting.txt; id"

# one that nobody waits for: a job with a log
job=$(superagent shell start --command "echo one; sleep 1; echo two" --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["invocation"])')
superagent logs "$job" --follow

# code by the project's own tools; what they find is data
superagent files write sums.py --content "def add(a, b): return a + b"
superagent code explain sums.py

# an interpreter that stays; so does a shell, by shell.session_open
session=$(superagent code repl --code "x = 41" --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["session"])')
superagent code repl --session "$session" --code "x + 1"
