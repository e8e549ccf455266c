package dev.optgptq.formats.parquet;

import dev.optgptq.formats.natives.NativeFolder;
import java.util.logging.Level;
import java.util.logging.Logger;

/** The native libraries of snappy and zstd: files of the distribution, where it runs; else their jars unpack their own. */
final class CodecLibraries {

    private static final String SNAPPY = "snappyjava";
    private static final String ZSTD = "zstd-jni";

    /** It tells which of its decompressors it takes; failures come as exceptions. Kept, as its level would be lost with it. */
    private static final Logger READER_LOG = Logger.getLogger("dev.hardwood");

    private CodecLibraries() {}

    /** Says where they are, before their classes are first used. */
    static void place() {
        READER_LOG.setLevel(Level.OFF);
        NativeFolder.ofThisProgram().ifPresent(folder -> {
            String snappy = System.mapLibraryName(SNAPPY);
            System.setProperty("org.xerial.snappy.lib.path", String.valueOf(folder.file(snappy).getParent()));
            System.setProperty("org.xerial.snappy.lib.name", snappy);
            System.setProperty("ZstdNativePath", folder.file(System.mapLibraryName(ZSTD)).toString());
        });
    }
}
