BACKUP=${BACKUP:-$HOME/superagent-backup}
createdb superagent_restored
pg_restore --no-owner --exit-on-error --dbname superagent_restored "$BACKUP/superagent.dump"
