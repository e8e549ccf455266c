#!/usr/bin/env bash
# Makes target/opt-gptq-VERSION-linux-x86_64.tar.xz: the program of cli/target/lib with a Java of its own, for machines that have
# neither Java nor a network. The same sources and the same JDK give the same bytes, but for lib/startup.aot. Fails when the result would not run on
# the oldest system that it is for, or has grown too large.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

max_bytes=75000000
# Ubuntu 22.04; Debian 12 has 2.36. Of libstdc++, what GCC 12 brings.
max_glibc=GLIBC_2.35
max_glibcxx=GLIBCXX_3.4.30

# What the program and its libraries use. jdeps cannot say it alone: it also finds modules for what is never called here.
modules=java.base,java.logging,java.management,java.sql,java.xml,jdk.incubator.vector,jdk.jfr,jdk.management,jdk.unsupported
# Jackson and Commons Math read beans, DJL draws pictures, annotations have processors: none of it is used.
unused_modules=java.compiler,java.desktop

# Libraries of the system, which every machine that can be logged into has.
system_libraries='libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 ld-linux-x86-64.so.2 libgcc_s.so.1 libstdc++.so.6'

fail() { printf 'dist: %s\n' "$*" >&2; exit 1; }

[ "$(uname -sm)" = 'Linux x86_64' ] || fail "the distribution is made on Linux x86_64 alone, this is $(uname -sm)"
for tool in readelf tar xz; do
    command -v $tool >/dev/null || fail "$tool is missing (apt-get install binutils tar xz-utils)"
done

# The version that the program gives itself, and the JDK that the launcher chooses.
version=$(./opt-gptq --version | sed -n '1s/^opt-gptq //p')
jdk=$(OPT_GPTQ_JAVA_OPTS=-XshowSettings:properties ./opt-gptq --version 2>&1 >/dev/null | sed -n 's/^ *java\.home = //p')
[ -x "$jdk/bin/jlink" ] || fail "$jdk has no jlink; install the whole JDK (temurin-25-jdk)"
time=$(sed -n 's/.*<project\.build\.outputTimestamp>\(.*\)<.*/\1/p' pom.xml)
name=opt-gptq-$version-linux-x86_64
work=target/dist
home=$work/$name
rm -rf "$work" && mkdir -p "$home/lib/native"

is_library='\.(so(\.[0-9]+)*|dll|dylib|jnilib|a)$'

unpack() { # JAR
    rm -rf "$work/jar" && mkdir -p "$work/jar"
    (cd "$work/jar" && "$jdk/bin/jar" --extract --file "$OLDPWD/$1")
}

# The libraries of this platform become files, the others go.
take_natives() { # JAR FOLDER_IN_JAR FILE...
    local jar=$1 folder=$2 file
    shift 2
    unpack "$jar"
    for file in "$@"; do
        [ -f "$work/jar/$folder/$file" ] || fail "$jar has no $folder/$file; see what its new version brings instead"
        cp "$work/jar/$folder/$file" "$home/lib/native/"
    done
    (cd "$work/jar" && find . -type f | sed 's|^\./||' | grep -vE "$is_library|^META-INF/MANIFEST.MF$" | sort >../entries)
    rm "$jar"
    (cd "$work/jar" && "$jdk/bin/jar" --create --file "$OLDPWD/$jar" --date "$time" --manifest META-INF/MANIFEST.MF @../entries)
}

program() {
    cp opt-gptq "$home/"
    cp cli/target/lib/*.jar "$home/lib/"
    take_natives "$(echo "$home"/lib/openblas-*.jar)" org/bytedeco/openblas/linux-x86_64 \
        libopenblas.so.0 libgfortran.so.5 libquadmath.so.0 libgcc_s.so.1
    take_natives "$(echo "$home"/lib/dnnl-*.jar)" org/bytedeco/dnnl/linux-x86_64 libdnnl.so.3 libgomp.so.1
    take_natives "$(echo "$home"/lib/opencl-*.jar)" org/bytedeco/opencl/linux-x86_64 libOpenCL.so.1
    rm "$home"/lib/openblas-*.jar "$home"/lib/dnnl-*.jar "$home"/lib/opencl-*.jar # headers are all that is left
    take_natives "$(echo "$home"/lib/tokenizers-*.jar)" native/lib/linux-x86_64/cpu libtokenizers.so
    take_natives "$(echo "$home"/lib/snappy-java-*.jar)" org/xerial/snappy/native/Linux/x86_64 libsnappyjava.so
    local zstd
    zstd=$(echo "$home"/lib/zstd-jni-*.jar)
    take_natives "$zstd" linux/amd64 "lib$(basename "$zstd" -linux_amd64.jar).so"
    mv "$home"/lib/native/libzstd-jni-*.so "$home/lib/native/libzstd-jni.so"
    chmod 755 "$home"/lib/native/*
}

runtime() {
    "$jdk/bin/jlink" --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --output "$home/runtime" \
        2>"$work/jlink.log" || { cat "$work/jlink.log" >&2; fail "$jdk/bin/jlink failed"; }
}

# What speeds a start up, made by a start. The JVM compares the jars' and its own modules' times with those in the archive.
startup_cache() {
    find "$home/lib" "$home/runtime" -type f -exec touch --date="$time" {} +
    OPT_GPTQ_MAKE_CACHE=$home/lib/startup.aot "$home/opt-gptq" quantize --help >"$work/startup.log" 2>&1 \
        || { cat "$work/startup.log" >&2; fail 'the startup cache could not be made'; }
    [ -s "$home/lib/startup.aot" ] || { cat "$work/startup.log" >&2; fail 'no startup cache was made'; }
}

papers() {
    cp -r config/dist/licenses "$home/"
    for paper in README.md NOTICE; do
        sed "s/@VERSION@/$version/" "config/dist/$paper" >"$home/$paper"
    done
    mkdir "$home/docs" "$home/samples" "$home/completions"
    cp docs/report.md "$home/docs/"
    cp -r samples/wiki-tiny-llama "$home/samples/"
    "$home/opt-gptq" completion >"$home/completions/opt-gptq.bash"
}

# ---------------------------------------------------------------------------------------------------------------------

# No module is missing that any class mentions, but for the known ones.
check_modules() {
    local jar module
    rm -rf "$work/classes" && mkdir "$work/classes"
    for jar in "$home"/lib/*.jar; do
        (cd "$work/classes" && "$jdk/bin/jar" --extract --file "$OLDPWD/$jar")
    done
    # As modules they would have to be complete, with all that is optional in them.
    find "$work/classes" -name module-info.class -delete
    for module in $("$jdk/bin/jdeps" --ignore-missing-deps --multi-release base --list-deps "$work/classes" \
        | sed -n 's|^ *\([a-z.]*\).*|\1|p'); do
        case ,$modules,$unused_modules, in
            *",$module,"*) ;;
            *) fail "the program mentions the module $module, which its runtime lacks: add it in config/dist.sh" ;;
        esac
    done
}

check_jars() {
    local jar
    for jar in "$home"/lib/*.jar; do
        if "$jdk/bin/jar" --list --file "$jar" | grep -E "$is_library"; then
            fail "$jar brings the libraries above, of which config/dist.sh does not know whether they are needed"
        fi
    done
}

highest() { # PREFIX FILE: the highest version of a library's symbols that a file asks for; names of versions are text in it
    { grep -aoE "$1_[0-9]+(\.[0-9]+)+" "$2" || true; } | sort -uV | tail -n 1
}

not_above() { [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$2" ]; }

# Every native file runs on the oldest system that the distribution is for.
check_natives() {
    local file needed found limit
    local brought
    brought=$(find "$home" -name '*.so*' -printf ' %f')
    for file in $(find "$home/lib/native" "$home/runtime/bin" -type f) $(find "$home/runtime" -name '*.so'); do
        for limit in $max_glibc $max_glibcxx; do
            found=$(highest "${limit%%_*}" "$file")
            not_above "$found" $limit || fail "$file needs $found, and the oldest systems that it is for have $limit"
        done
        for needed in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p'); do
            case " $system_libraries $brought " in
                *" $needed "*) ;;
                *) fail "$file needs $needed, which the distribution does not bring and a system may lack" ;;
            esac
        done
    done
}

# xz, since oneDNN repeats itself over distances that gzip does not see: it takes 17 MB instead of 27. Two threads on any machine:
# how many there are is in the format.
archive() {
    tar --create --directory "$work" --sort=name --mtime="$time" --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX "$name" | xz -2 --threads=2 --check=crc64 >"target/$name.tar.xz"
    local bytes
    bytes=$(stat -c %s "target/$name.tar.xz")
    [ "$bytes" -le $max_bytes ] || fail "target/$name.tar.xz has $bytes bytes, more than the $max_bytes that were promised"
    echo "target/$name.tar.xz, $bytes bytes"
}

program
runtime
startup_cache
papers
check_modules
check_jars
check_natives
archive
