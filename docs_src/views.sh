export PATH="$PWD/.venv/bin:$PATH"

# a command whose changes wait in a view
view=$(superagent shell run "echo hello > views.txt" --no-apply --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["changes"]["view"])')

# every view and session of yours that is still there, should you have lost an id
superagent sandbox list

# what it did, path by path and as a diff; what accepting would do; and doing it
superagent sandbox diff "$view"
superagent sandbox accept "$view" --dry-run
superagent sandbox accept "$view"
