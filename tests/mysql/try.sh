#!/bin/sh
# Runs the tests of MySQL migrations against MySQL itself: the suite's stand on MariaDB, which is what Debian's stable
# release has. MySQL comes from Debian's unstable one, with its libraries, into a folder of its own; nothing is installed.
set -eu
folder=${1:?"a folder for MySQL, such as target/mysql"}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if ! [ -x "$folder/mysqld" ]; then
  # What an attempt left that was cut off.
  rm -rf "$folder/apt" "$folder/root"
  mkdir -p "$folder/apt/etc/preferences.d" "$folder/apt/etc/apt.conf.d" "$folder/apt/state/lists/partial" \
    "$folder/apt/cache/archives/partial" "$folder/root"
  : >"$folder/apt/status"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$folder/apt/etc/sources.list"
  # Of a system on which nothing is installed: so every library comes along.
  own_apt() {
    apt-get -q -o "Dir::Etc=$folder/apt/etc" -o "Dir::State=$folder/apt/state" -o "Dir::State::status=$folder/apt/status" \
      -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=root -o APT::Install-Recommends=false \
      -o Acquire::Languages=none "$@"
  }
  own_apt update
  own_apt install -y --download-only mysql-server-core
  for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
  done
  libraries=$folder/root/usr/lib
  own=$libraries/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  loader=$(find "$own" -name 'ld-linux*.so.*' | head -n 1)
  cat >"$folder/mysqld.new" <<END
#!/bin/sh
exec "$loader" \\
  --library-path "$own:$libraries/mysql/private:$libraries" "$folder/root/usr/sbin/mysqld" "\$@"
END
  chmod +x "$folder/mysqld.new"
  "$folder/mysqld.new" --no-defaults --version
  mv "$folder/mysqld.new" "$folder/mysqld"
fi
"$folder/mysqld" --no-defaults --version
HANDOVER_NO_SKIP=1 HANDOVER_TEST_MYSQLD="$folder/mysqld" cargo nextest run -p handover-schema-testing -E 'test(mariadb)'
