#!/bin/sh
# Prints the JDK that Maven should run on: that of JAVA_HOME if its version is the project's, else the first such under /usr/lib/jvm;
# nothing where there is none, and Maven finds one by its toolchains. The formatter and the two JVMs of the tests need it.
for java in "${JAVA_HOME:-}" /usr/lib/jvm/*; do
    if [ -x "$java/bin/javac" ] && "$java/bin/java" -version 2>&1 | grep -q 'version "25\.'; then
        echo "$java"
        exit
    fi
done
