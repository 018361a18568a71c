export PATH="$PWD/.venv/bin:$PATH"
BACKUP=${BACKUP:-$HOME/superagent-backup}
RESTORED=${RESTORED:-$HOME/superagent-restored}
cp -a "$BACKUP" "$RESTORED"

# is it whole? the doctor opens it, and the record proves itself
superagent doctor --data "$RESTORED"
superagent audit verify --data "$RESTORED"

# what can still be taken back; a copy takes it back where it was only if you say so: in the places of the original
superagent undo list --data "$RESTORED"
newest=$(superagent undo list --data "$RESTORED" --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["entries"][0]["invocation"])')
superagent undo "$newest" --data "$RESTORED" --of-original --dry-run
superagent undo "$newest" --data "$RESTORED" --of-original
