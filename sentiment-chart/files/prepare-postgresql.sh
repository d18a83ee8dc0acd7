# Makes the data folder, the role and the database where they are missing, and gives the role
# the Secret's password. It runs at each start of the pod, before PostgreSQL: so a claim that
# outlived its Secret, a new password and a start that was killed half-way end in the same state.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --data-checksums --no-instructions
  echo "host all all all scram-sha-256" >> "$PGDATA.new/pg_hba.conf"
  mv "$PGDATA.new" "$PGDATA"  # whole or not at all
fi
chmod 0700 "$PGDATA"  # mounted for a group, it may come with more, which PostgreSQL refuses
pg_ctl --wait --timeout=600 --options="-c listen_addresses=" start
psql --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 <<'SQL'
SET log_min_error_statement = panic;  -- no password in the log, whatever happens
\getenv db DB
\getenv user DB_USER
\set password `cat "$PASSWORD_FILE"`
SELECT format('CREATE ROLE %I LOGIN', :'user')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
ALTER ROLE :"user" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'db', :'user')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') \gexec
SQL
pg_ctl --wait --mode=fast stop
