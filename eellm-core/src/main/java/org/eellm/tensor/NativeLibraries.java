package org.eellm.tensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.util.Set;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.Loader;

/**
 * Loads JavaCPP's native libraries. The first process on a machine copies them from their jars into
 * a cache, alone: JavaCPP's own lock does not keep a second one, such as another rank, from mapping
 * a file that is still being written, which kills it with SIGBUS. Later ones load them at once.
 *
 * <p>The cache is in the home folder. Where that is on a network, all machines of a cluster would
 * wait for each other there, and the cache is in the temporary folder.
 */
public final class NativeLibraries {
  private static final String CACHE = "org.bytedeco.javacpp.cachedir";

  /** File systems over a network, as Linux and macOS name them. */
  private static final Pattern NETWORK =
      Pattern.compile("nfs|smb|cifs|afs|9p|fuse|lustre|gpfs|beegfs|ceph|panfs|weka");

  private static final Set<PosixFilePermission> OWNER_ALONE =
      PosixFilePermissions.fromString("rwx------");

  private NativeLibraries() {}

  /** The platform whose libraries are needed, as JavaCPP names it: {@code linux-arm64}. */
  public static String platform() {
    return Loader.getPlatform();
  }

  /** Loads the libraries of a binding's class; an {@link UnsatisfiedLinkError} where they miss. */
  public static void load(Class<?> binding) {
    SharedProcessors.limitSpins(System.getenv());
    SharedProcessors.shortenSlices();
    try {
      chooseCache();
      Path cache = Loader.getCacheDir().toPath();
      // With other jars they are others.
      int jars = System.getProperty("java.class.path").hashCode();
      Path copied = cache.resolve(".eellm-%s-%08x".formatted(binding.getSimpleName(), jars));
      if (!Files.exists(copied)) {
        copy(binding, cache.resolve(".eellm.lock"), copied);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("native libraries: " + e.getMessage(), e);
    }
    Loader.load(binding);
  }

  /** Makes the file {@code copied} once all is there. */
  private static void copy(Class<?> binding, Path lock, Path copied) throws IOException {
    try (FileChannel channel =
            FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        var _ = channel.lock()) {
      if (!Files.exists(copied)) {
        Loader.load(binding);
        Files.createFile(copied);
      }
    }
  }

  private static void chooseCache() throws IOException {
    Path home = Path.of(System.getProperty("user.home"));
    if (System.getProperty(CACHE) == null
        && Files.isDirectory(home)
        && isOnNetwork(Files.getFileStore(home).type())) {
      Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
      System.setProperty(CACHE, ownFolder(temporary, System.getProperty("user.name")).toString());
    }
  }

  static boolean isOnNetwork(String type) {
    return NETWORK.matcher(type).find();
  }

  /**
   * The user's folder among the temporary ones.
   *
   * @throws IOException if others might write libraries there
   */
  static Path ownFolder(Path temporary, String user) throws IOException {
    Path folder = temporary.resolve("eellm-" + user);
    try {
      return Files.createDirectory(folder, PosixFilePermissions.asFileAttribute(OWNER_ALONE));
    } catch (FileAlreadyExistsException _) {
      Path own = Files.createTempFile(temporary, "eellm", "");
      UserPrincipal owner = Files.getOwner(own);
      Files.delete(own);
      PosixFileAttributes its =
          Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      if (!its.isDirectory()
          || !its.owner().equals(owner)
          || !its.permissions().equals(OWNER_ALONE)) {
        throw new IOException(
            folder + " is not a folder of this user's alone; remove it, or set -D" + CACHE);
      }
      return folder;
    }
  }
}
