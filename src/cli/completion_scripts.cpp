#include "cli/completion.h"

// The scripts know no command: each asks `aegis __complete WORD...`, whose answer is made from the
// tree of commands and from what the daemon lists.

namespace aegis::cli {
namespace {

// bash splits words at "=" and ":" too; `joined` undoes that, and what is offered is cut to the
// part that bash believes to be the word.
constexpr std::string_view kBash = R"SCRIPT(# bash completion of aegis
_aegis() {
    local rest=${COMP_LINE:0:COMP_POINT} joined=() word i cut
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i -eq 0 || $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            joined+=("")
        fi
        if [[ $i -eq $COMP_CWORD ]]; then word=$rest; fi
        joined[${#joined[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
    local whole=${joined[${#joined[@]} - 1]}
    cut=$((${#whole} - ${#word}))
    local line value action="" candidates=()
    while IFS= read -r line; do
        case $line in
        :files | :at-files) action=$line ;;
        *)
            value=${line%%$'\t'*}
            candidates+=("${value:cut}")
            ;;
        esac
    done < <("${joined[0]}" __complete -- "${joined[@]:1}" 2>/dev/null)
    COMPREPLY=("${candidates[@]}")
    local files=()
    case $action in
    :files)
        compopt -o filenames 2>/dev/null
        mapfile -t files < <(compgen -f -- "$word")
        ;;
    :at-files)
        if [[ $word == @* ]]; then
            compopt -o nospace 2>/dev/null
            mapfile -t files < <(compgen -P @ -f -- "${word#@}")
        fi
        ;;
    esac
    COMPREPLY+=("${files[@]}")
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _aegis aegis
)SCRIPT";

constexpr std::string_view kZsh = R"SCRIPT(#compdef aegis
# zsh completion of aegis
_aegis() {
    local line value action
    local -a offered
    for line in "${(@f)$(${words[1]} __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
        '') ;;
        :files | :at-files) action=$line ;;
        *$'\t'*)
            value=${line%%$'\t'*}
            offered+=("${value//:/\\:}:${line#*$'\t'}")
            ;;
        *) offered+=("${line//:/\\:}") ;;
        esac
    done
    (( ${#offered} )) && _describe -V aegis offered
    case $action in
    :files) _files ;;
    :at-files) compset -P '@' && _files ;;
    esac
}
if [[ $funcstack[1] == _aegis ]]; then
    _aegis "$@"
else
    compdef _aegis aegis
fi
)SCRIPT";

constexpr std::string_view kFish = R"SCRIPT(# fish completion of aegis
function __aegis_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program __complete -- $words "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':at-files'
                if string match -q -- '@*' "$current"
                    for path in (__fish_complete_path (string sub -s 2 -- "$current"))
                        echo "@$path"
                    end
                end
            case '*'
                echo $line
        end
    end
end
complete -c aegis -f -a '(__aegis_complete)'
)SCRIPT";

}  // namespace

std::string_view completionScript(std::string_view shell) {
    if (shell == "bash") return kBash;
    if (shell == "zsh") return kZsh;
    if (shell == "fish") return kFish;
    return {};
}

}  // namespace aegis::cli
