# Stands in for postgres:17: its variables, folders, user and entrypoint, on Debian's PostgreSQL.
FROM debian:trixie-slim
# What compiles queries (LLVM, 130 MB) is left out; PostgreSQL does without. The user has the
# official image's number, which volumes know.
RUN printf 'path-exclude=%s\n' '/usr/lib/*/libLLVM*' '/usr/lib/postgresql/17/lib/llvm*' \
        '/usr/lib/postgresql/17/lib/bitcode/*' > /etc/dpkg/dpkg.cfg.d/no-llvm \
    && groupadd --system --gid 999 postgres \
    && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
    && mkdir /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql-17 \
    && apt-get clean \
    && rm -r /var/lib/apt/lists/* \
    && sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" \
        /usr/share/postgresql/17/postgresql.conf.sample \
    && mkdir /docker-entrypoint-initdb.d \
    && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql/data \
    && install --directory --owner postgres --group postgres --mode 3777 /var/run/postgresql
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
ENV LANG=C.UTF-8 PG_MAJOR=17 PGDATA=/var/lib/postgresql/data
ENV PATH=$PATH:/usr/lib/postgresql/17/bin
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
