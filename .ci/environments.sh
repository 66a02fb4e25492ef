# Where xlsr is tried besides on this Python: other Pythons, other Debians, the oldest libraries. For .ci/run.

# A copy of the files that git knows, as they are now, in folder $1.
copy_checkout() {
    mkdir -p "$1"
    git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$1"
}

# The folder of a CPython $1 (such as 3.12) that is not the one of pyenv's shims; fails where there is none.
python_folder() {
    local python
    for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin "${RUNNER_TOOL_CACHE:-/nowhere}"/*/"$1".*/x64/bin; do
        if [ -x "$python/python$1" ]; then
            echo "$python"
            return
        fi
    done
    python=$(command -v "python$1") && "$python" -c "" 2>/dev/null && dirname "$python" && return
    echo "there is no Python $1; have it: pyenv install $1" >&2
    return 1
}

# Install as the README says, with the CPython in folder $2, in a copy of the checkout in folder $1, and try it.
newcomer() {
    copy_checkout "$1"
    (
        cd "$1"
        export PATH="$2:$PATH"
        python3 --version
        bash -ec "$install"
        .venv/bin/python tools/smoke.py
    )
}

# The oldest of every library that pyproject.toml allows, in the unpacked source distribution in folder $1: what a
# new user does, and the fast tests.
oldest_libraries() {
    (
        cd "$1"
        python3 -m venv uv && uv/bin/pip install uv
        uv/bin/uv venv --quiet --python "$(command -v python3)" .venv
        uv/bin/uv pip install --quiet --resolution lowest-direct .
        .venv/bin/xlsr upscale docs/sample/gae-aulenti.png
        .venv/bin/python tools/smoke.py
        uv/bin/uv pip install --quiet --resolution lowest-direct --editable ".[cluster,plot]" --group test
        .venv/bin/python -m pytest
    )
}

# OpenCV 4.10 over the newer one, in the environment of folder $1: the program starts, and says what is wrong.
another_opencv() {
    (
        cd "$1"
        .venv/bin/pip install opencv-python==4.10.0.84
        for output in out.png out.jpg out.webp out.bmp; do
            .venv/bin/xlsr upscale docs/sample/gae-aulenti.png "$output"
        done
        code=0
        .venv/bin/xlsr doctor >doctor.txt || code=$?
        tail --lines=4 doctor.txt
        [ "$code" = 6 ] # its wheel has no encoder for AVIF
        grep --quiet "what to do: pip uninstall opencv-python opencv-python-headless" doctor.txt
    )
}

# A bare Debian $1 in folder $2, with Python, the checkout in /xlsr, and a way to the package registries.
make_debian() {
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$1" "$2" >"$2.log" ||
        { tail --lines=20 "$2.log" && return 1; }
    cp /etc/resolv.conf "$2/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/ca-certificates.crt" # ours may know a proxy
    copy_checkout "$2/xlsr"
}

# The Bash command $2 in /xlsr of the Debian in folder $1, whose environment is empty but for the ways to
# registries. Its mounts go with the last process in it.
in_debian() {
    local ways
    mapfile -t ways < <(env | grep --extended-regexp --ignore-case '^(https?_proxy|no_proxy|pip_(index_url|default_timeout))=')
    unshare --mount --propagation private bash -ec '
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" /usr/bin/env -i "${@:2}" HOME=/root LC_ALL=C.UTF-8 PIP_QUIET=1 \
            PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
            PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -ec "cd /xlsr && $1"
    ' "$1" "$2" "${ways[@]}"
}
