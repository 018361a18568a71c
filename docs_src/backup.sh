export PATH="$PWD/.venv/bin:$PATH"
DATA=${SUPERAGENT_DATA:-$HOME/.local/share/superagent}
BACKUP=${BACKUP:-$HOME/superagent-backup}   # better on another disk; a new one each time
umask 077
mkdir -p "$BACKUP/state/audit"

# 1. the database, as it is at one moment; the server goes on
case "${SUPERAGENT_DATABASE__URL:-}" in
  postgresql*) pg_dump --format custom --file "$BACKUP/superagent.dump" "${SUPERAGENT_DATABASE__URL/+psycopg/}" ;;
  *) python3 -c 'import sqlite3, sys; here, there = map(sqlite3.connect, sys.argv[1:]); here.backup(there)' \
       "$DATA/state/superagent.db" "$BACKUP/state/superagent.db" ;;
esac

# 2. the record: first what was signed, then the lines, so that no signature speaks of a line that is missing
cp -a "$DATA/state/audit/checkpoints" "$BACKUP/state/audit/"
find "$DATA/state/audit" -mindepth 1 -maxdepth 1 ! -name checkpoints -exec cp -a -t "$BACKUP/state/audit" {} +

# 3. the rest: keys, what is kept for undo, stored results, and all beside `state`; not what each start makes anew
find "$DATA/state" -mindepth 1 -maxdepth 1 ! -name 'superagent.db*' ! -name audit ! -name sandbox ! -name '*lock*' \
  ! -name shared.map ! -name presence -exec cp -a -t "$BACKUP/state" {} +
# what runs at this moment comes and goes in `views`: a file that went is no fault
LC_ALL=C find "$DATA" -mindepth 1 -maxdepth 1 ! -name state -exec cp -a -t "$BACKUP" {} + 2>"$BACKUP/errors" ||
  [ -z "$(grep -v 'No such file or directory' "$BACKUP/errors" | tee /dev/stderr)" ]
rm "$BACKUP/errors"
