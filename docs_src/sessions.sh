export PATH="$PWD/.venv/bin:$PATH"
named() { python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["session"])'; }

# a shell that stays: what one call changes in it, the next one finds
session=$(superagent shell session-open --json | named)
superagent shell session-send "$session" "cd /tmp; x=41" --keys enter
superagent shell session-send "$session" 'echo $((x + 1)) in $PWD' --keys enter

# what takes longer than one wants to wait goes on; a key stops it
superagent shell session-send "$session" --input "sleep 60" --keys enter --timeout-s 0.2
superagent shell session-send "$session" --keys ctrl-c --json
superagent shell session-close "$session"

# an interpreter that stays: output, value and exception by themselves
session=$(superagent code repl --code "import statistics; x = [1, 2, 6]" --json | named)
superagent code repl --session "$session" --code "print(x)
statistics.mean(x)" --json
