export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}
KEY=$(cat "${SUPERAGENT_DATA:-$HOME/.local/share/superagent}/state/owner.key")

# how it stands, and what it may
superagent plugins list

# look first, then do it, on the command line
superagent notes add notes.txt "buy milk" --dry-run
superagent notes add notes.txt "buy milk"

# the same by HTTP
curl -sS "$URL/v1/operations/notes.add" -H "Authorization: Bearer $KEY" \
    -d '{"path": "notes.txt", "text": "call home"}'; echo
