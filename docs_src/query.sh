export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}

superagent files write plan.md --content "# Plan"
KEY=$(cat "${SUPERAGENT_DATA:-$HOME/.local/share/superagent}/state/owner.key")
ask() { curl -s -i -X QUERY "$URL/v1/operations/files.read" -H "Authorization: Bearer $KEY" -d '{"path": "plan.md"}' "$@"; }

ask                                                       # 200, the content, and an ETag
TAG=$(ask | tr -d '\r' | sed -n 's/^etag: //p')
ask -H "If-None-Match: $TAG"                              # 304: what you have still holds
