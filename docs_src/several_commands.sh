export PATH="$PWD/.venv/bin:$PATH"

view=$(superagent sandbox create --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["view"])')

superagent shell run "mkdir -p notes; date > notes/today.txt" --view "$view"
superagent shell run "wc -l notes/*.txt > notes/lines.txt" --view "$view"

superagent sandbox diff "$view"    # what both did
superagent sandbox discard "$view" # or accept it, as one change
