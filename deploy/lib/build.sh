# Builds the programs and the page. Sourced by deploy/up and deploy/test; both stand in the repository's root.

# Fetches what the page uses by its lock file, unless it is there, and puts the page together.
build_page() {
  (
    cd orchestrator/web || exit
    # npm writes this file last, so an interrupted run is done again.
    if [[ package-lock.json -nt node_modules/.package-lock.json ]]; then
      say "fetching what the page uses (npm ci)"
      npm ci
    fi
    # The last file that the build writes tells when it was done; nothing is touched that may be served just now.
    local done=dist/hls.LICENSE.txt
    if [[ ! -f $done || -n $(find . -path ./dist -prune -o -type f -newer "$done" -print -quit) ]]; then
      npm run --silent build
    fi
  )
}

# Fetches the players that tests run in a browser, by their lock file, unless they are there.
fetch_players() {
  (
    cd tests/e2e || exit
    if [[ package-lock.json -nt node_modules/.package-lock.json ]]; then
      say "fetching players for the tests (npm ci)"
      npm ci
    fi
  )
}

# Where cargo puts programs, whatever the user's own settings.
target_dir() { cargo metadata --format-version 1 --no-deps | jq -r .target_directory; }
