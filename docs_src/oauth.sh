export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}
field() { python3 -c "import json, sys; found = json.load(sys.stdin); print(found.get('output', found)['$1'])"; }

# a service: it has a secret, a workspace and the role `agent`, and its tokens never more than these scopes
MADE=$(superagent access clients create nightly-report service --scopes 'files.*' --json)
WHO=$(field id <<< "$MADE"):$(field secret <<< "$MADE")

# a token for five minutes, narrower than the service: it can read and nothing else
TOKEN=$(curl -s -u "$WHO" -d grant_type=client_credentials -d 'scope=files.*:read' "$URL/oauth/token" | field access_token)
curl -s -H "Authorization: Bearer $TOKEN" -d '{"path": "."}' "$URL/v1/operations/files.list"; echo
curl -s -H "Authorization: Bearer $TOKEN" -d '{"path": "a", "content": "b"}' "$URL/v1/operations/files.write"; echo

# what it is good for; then give it up, and it is dead at once
curl -s -u "$WHO" -d "token=$TOKEN" "$URL/oauth/introspect"; echo
curl -s -u "$WHO" -d "token=$TOKEN" "$URL/oauth/revoke"; echo
curl -s -u "$WHO" -d "token=$TOKEN" "$URL/oauth/introspect"; echo

# a device without a browser shows a code; you look at what it asks for, and let it act for you
TV=$(superagent access clients create television application --device --public --scopes 'files.*:read' --json | field id)
CODES=$(curl -s -d "client_id=$TV" "$URL/oauth/device_authorization")
superagent oauth device show "$(field user_code <<< "$CODES")"
superagent oauth device decide "$(field user_code <<< "$CODES")" --allow
FLOW=urn:ietf:params:oauth:grant-type:device_code
curl -s -d "client_id=$TV" -d "device_code=$(field device_code <<< "$CODES")" -d grant_type=$FLOW "$URL/oauth/token" | field scope

# what you let others do, until you end it with `superagent access consents revoke ID`
superagent access consents list
