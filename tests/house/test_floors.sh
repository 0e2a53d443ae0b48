#!/usr/bin/env bash
# The floors of docs/architecture.md hold: who may include what, one user a library, nothing below src/cli prints or
# exits, files are small and their names unique. Then every rule is broken on purpose in a copy, and must be seen.
# Usage: tests/house/test_floors.sh [--help]
set -euo pipefail
case ${1:-} in -h | --help) awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Floor -> what of src/ it may include. `dldist` stands for the public headers. The codes of dl_status are public and
# core's alike.
declare -A ALLOWED=(
  [core]='core dldist/status.h'
  [comm]='core comm'
  [nn]='core nn'
  [data]='core data'
  [metrics]='core metrics'
  [report]='core report'
  [train]='core comm nn data metrics report train'
  [api]='core comm nn data metrics report train api dldist'
  [cli]='core comm nn data metrics report train api cli dldist'
)
# Pattern of a library's headers -> the one floor that may include them.
declare -A OWNER=(
  ['mpi\.h']=comm ['zmq\.h']=comm
  ['cblas\.h']=nn ['(oneapi/dnnl/)?dnnl.*\.h']=nn
  ['hdf5.*\.h']=data ['zlib\.h']=data ['png\.h']=data ['j(peglib|error)\.h']=data
  ['libfyaml\.h']=core ['jansson\.h']=core ['openssl/.*\.h']=core
)
# FILE:WORD that may stand although it ends the process: a member that cannot go on in an unknown state; a child process.
ALLOWED_EXITS='^(src/comm/[a-z_]+\.c:(_exit|abort|exit)|src/data/hdf5_probe\.c:_exit)$'
MAX_BYTES=204800
LARGE_FILES='^share/digits\.h5$'
COMMON_NAMES='^(CMakeLists\.txt|README\.md|\.gitignore)$'

# "FILE INCLUDED" for every #include line, quotes and angles off.
includes_of() {
  local files=()
  mapfile -t files < <(find "$@" -name '*.[ch]' | sort)
  [ ${#files[@]} = 0 ] ||
    awk 'match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]+[">]/) {
           text = substr($0, RSTART, RLENGTH); sub(/^[^"<]*["<]/, "", text); sub(/[">]$/, "", text)
           print FILENAME, text, ($0 ~ /include[ \t]*"/ ? "quoted" : "angled")
         }' "${files[@]}"
}

check_includes() {
  local file included kind floor top pattern
  while read -r file included kind; do
    floor=${file#src/} floor=${floor%%/*} top=${included%%/*}
    if [ -z "${ALLOWED[$floor]:-}" ]; then
      echo "$file: src/$floor is no floor"
    elif [ -n "${ALLOWED[$top]:-}" ] || [ "$top" = dldist ] || [ "$kind" = quoted ]; then
      [[ $included == */* && " ${ALLOWED[$floor]} " == *" $top "* || " ${ALLOWED[$floor]} " == *" $included "* ]] ||
        echo "$file: $floor may not include \"$included\""
    fi
    for pattern in "${!OWNER[@]}"; do
      if [[ $included =~ ^$pattern$ && ${OWNER[$pattern]} != "$floor" ]]; then
        echo "$file: <$included> belongs to src/${OWNER[$pattern]}"
      fi
    done
  done < <(includes_of src)
  [ -d include ] || return 0
  while read -r file included kind; do
    if [[ ($kind == quoted || $included == */*) && $included != dldist/* ]]; then
      echo "$file: a public header may not include \"$included\""
    fi
  done < <(includes_of include)
}

# Comments and the text of strings are taken out first.
check_prints_and_exits() {
  local file word
  while read -r file; do
    while read -r word; do
      [[ $file:$word =~ $ALLOWED_EXITS ]] || echo "$file: '$word' below src/cli"
    done < <(sed -E 's/"([^"\\]|\\.)*"/""/g' "$file" |
      awk '{ line = $0; out = ""
             while (length(line)) {
               if (inside) { i = index(line, "*/"); if (!i) break; line = substr(line, i + 2); inside = 0; continue }
               i = index(line, "/*"); j = index(line, "//")
               if (j && (!i || j < i)) { out = out substr(line, 1, j - 1); break }
               if (!i) { out = out line; break }
               out = out substr(line, 1, i - 1) " "; line = substr(line, i + 2); inside = 1
             }
             print out }' |
      grep -oP '(?<![\w.>])((v?printf|puts|putchar|perror|exit|_exit|_Exit|quick_exit|abort)(?=\s*\()|(stdout|stderr)(?!\w))' |
      sort -u)
  done < <(find src -name '*.[ch]' ! -path 'src/cli/*' | sort)
}

# The files that belong to the tree: git's where it is a clone, else all but what is built.
tree_files() {
  git ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . -type f ! -path './build/*' ! -path './runs/*' ! -path './data/*' -printf '%P\n'
}

check_files() {
  local file name files
  files=$(tree_files)
  while read -r file; do
    if [ -f "$file" ] && [ "$(stat -c %s "$file")" -gt "$MAX_BYTES" ] && ! [[ $file =~ $LARGE_FILES ]]; then
      echo "$file: larger than $MAX_BYTES bytes"
    fi
  done <<<"$files"
  # A public header may bear the name of the one it serves.
  awk -F/ '{ print ($1 == "include"), $NF }' <<<"$files" | sort | uniq -d | while read -r _ name; do
    [[ $name =~ $COMMON_NAMES ]] || echo "$name: a file's name must be unique in the tree"
  done
}

check() { check_includes && check_prints_and_exits && check_files; }

# plant EXPECTED FILE TEXT: a legal tree with TEXT added to FILE is found out with the message EXPECTED.
plant() {
  local expected=$1 file=$2 text=$3 copy found
  copy=$(mktemp -d)
  cp -r "$legal/." "$copy"
  mkdir -p "$(dirname "$copy/$file")"
  printf '%s\n' "$text" >>"$copy/$file"
  found=$(cd "$copy" && check)
  if [ "$found" != "$expected" ]; then
    printf "self-test: '%s' in %s gave '%s', not '%s'\n" "${text:0:60}" "$file" "$found" "$expected"
  fi
  rm -rf "$copy"
}

# The legal tree has only what the rules read, so that nothing here depends on the real one.
self_test() {
  local legal floor found
  legal=$(mktemp -d)
  for floor in "${!ALLOWED[@]}"; do
    mkdir -p "$legal/src/$floor"
    printf '/* printf("x"); stderr */\n#include "core/status.h"\n#include <stdio.h>\nconst char *a = "exit(1)";\n' \
      >"$legal/src/$floor/legal_$floor.c"
  done
  mkdir -p "$legal/include/dldist"
  printf '#include "dldist/status.h"\n' | tee "$legal/src/core/status.h" >"$legal/include/dldist/status.h"
  found=$(cd "$legal" && check)
  [ -z "$found" ] || echo "self-test: a legal tree is blamed: $found"

  plant 'src/core/a.c: core may not include "comm/sync.h"' src/core/a.c '#include "comm/sync.h"'
  plant 'src/nn/a.h: nn may not include "data/data.h"' src/nn/a.h '  #  include "data/data.h"'
  plant 'src/nn/a.c: nn may not include "data/data.h"' src/nn/a.c '#include <data/data.h>'
  plant 'src/report/a.c: report may not include "metrics/metrics.h"' src/report/a.c '#include "metrics/metrics.h"'
  plant 'src/train/a.c: train may not include "api/a.h"' src/train/a.c '#include "api/a.h"'
  plant 'src/train/a.c: train may not include "dldist/dldist.h"' src/train/a.c '#include "dldist/dldist.h"'
  plant 'src/core/a.c: core may not include "status.h"' src/core/a.c '#include "status.h"'
  plant 'src/core/a.c: core may not include "../nn/net.h"' src/core/a.c '#include "../nn/net.h"'
  plant 'src/new/a.c: src/new is no floor' src/new/a.c '#include <stdio.h>'
  plant 'src/train/a.c: <mpi.h> belongs to src/comm' src/train/a.c '#include <mpi.h>'
  plant 'src/cli/a.c: <oneapi/dnnl/dnnl.h> belongs to src/nn' src/cli/a.c '#include <oneapi/dnnl/dnnl.h>'
  plant 'src/nn/a.c: <hdf5_hl.h> belongs to src/data' src/nn/a.c '#include <hdf5_hl.h>'
  plant 'src/data/a.c: <openssl/evp.h> belongs to src/core' src/data/a.c '#include <openssl/evp.h>'
  plant 'include/dldist/a.h: a public header may not include "core/status.h"' include/dldist/a.h \
    '#include "core/status.h"'
  plant 'include/dldist/a.h: a public header may not include "mpi.h"' include/dldist/a.h '#include "mpi.h"'
  plant "src/train/a.c: 'printf' below src/cli" src/train/a.c 'int x; /* one */ printf("%d", x); // two'
  plant "src/api/a.c: 'stderr' below src/cli" src/api/a.c 'fprintf(stderr, "x");'
  plant "src/nn/a.c: 'exit' below src/cli" src/nn/a.c 'if (!p) exit (1);'
  plant "src/core/a.h: 'abort' below src/cli" src/core/a.h '/* long
    comment */ abort();'
  plant '' src/core/a.c 'team->ops->abort(team, 1); snprintf(text, 1, ""); my_exit(1); FILE *f; fprintf(f, "");'
  plant '' src/cli/a.c 'printf("x"); exit(1);'
  plant '' src/comm/team_mpi.c '_exit(4);'
  plant 'legal_nn.c: a file'"'"'s name must be unique in the tree' src/core/legal_nn.c ''
  plant 'src/core/a.c: larger than 204800 bytes' src/core/a.c "$(head -c 204801 /dev/zero | tr '\0' ' ')"
  plant 'src/nn/a.c: nn may not include "dldist/status.h"' src/nn/a.c '#include "dldist/status.h"'
  rm -rf "$legal"
}

breaches=$(check)
[ -z "$breaches" ] || printf '%s\n' "$breaches"
blind=$(self_test)
[ -z "$blind" ] || printf '%s\n' "$blind"
[ -z "$breaches$blind" ]
