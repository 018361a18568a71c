export PATH="$PWD/.venv/bin:$PATH"

# once, and kept where nobody of here can write: the public keys, one a line
superagent audit keys --json | python3 -c 'import json, sys; print(*json.load(sys.stdin)["output"]["keys"], sep="\n")' > keys.txt

# the whole record as one file
superagent audit proof --save audit.tar.gz

# anywhere, with Python alone
PYTHONPATH=verifier/src python3 -m superagent_verifier audit.tar.gz --keys keys.txt
