package org.eellm.tensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.bytedeco.javacpp.Loader;

/**
 * Loads JavaCPP's native libraries, one process at a time. The first process on a machine copies
 * them from their jars into a cache, and JavaCPP's own lock does not keep a second one, such as
 * another rank, from mapping a file that is still being written, which kills it with SIGBUS.
 */
public final class NativeLibraries {
  private NativeLibraries() {}

  /** Loads the libraries of a binding's class; an {@link UnsatisfiedLinkError} where they miss. */
  public static void load(Class<?> binding) {
    Path cache;
    try {
      cache = Loader.getCacheDir().toPath();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    try (FileChannel channel =
            FileChannel.open(
                cache.resolve(".eellm.lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        var _ = channel.lock()) {
      SharedProcessors.limitSpins(System.getenv());
      SharedProcessors.shortenSlices();
      Loader.load(binding);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "native libraries: cannot lock " + cache + " (" + e.getMessage() + ")", e);
    }
  }
}
