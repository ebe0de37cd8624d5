package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Where JavaCPP's cache is, and ranks that fill and use it at the same time. */
@Timeout(120)
final class NativeLibrariesTest {
  @TempDir private Path folder;

  /** Loads libtorch. */
  public static final class Loads {
    private Loads() {}

    public static void main(String[] args) {
      System.out.println(Torch.version());
    }
  }

  @Tag("slow")
  @Test
  void load_byProcessesAtOnceWithAnEmptyCache_loadsInAllAndThenWaitsForNobody() throws Exception {
    for (Process process : List.of(load("0"), load("1"), load("2"))) {
      assertThat(process.waitFor(100, TimeUnit.SECONDS)).isTrue();
    }
    for (String name : List.of("0", "1", "2")) {
      assertThat(folder.resolve(name + ".txt")).content().startsWith("2.").doesNotContain("Error");
    }
    try (FileChannel channel =
            FileChannel.open(folder.resolve("cache/.eellm.lock"), StandardOpenOption.WRITE);
        var _ = channel.lock()) {
      assertThat(load("later").waitFor(60, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(folder.resolve("later.txt")).content().startsWith("2.");
  }

  private Process load(String name) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules=jdk.incubator.vector",
            "-XX:TieredStopAtLevel=1", // ready sooner
            "-Dorg.bytedeco.javacpp.cachedir=" + folder.resolve("cache"),
            "-XX:ErrorFile=" + folder.resolve("error.log"),
            "-cp",
            System.getProperty("java.class.path"),
            Loads.class.getName())
        .redirectError(ProcessBuilder.Redirect.DISCARD)
        .redirectOutput(folder.resolve(name + ".txt").toFile())
        .start();
  }

  @ParameterizedTest
  @CsvSource({
    "nfs4, true",
    "lustre, true",
    "fuse.sshfs, true",
    "beegfs, true",
    "ext4, false",
    "xfs, false",
    "btrfs, false",
    "overlay, false",
    "tmpfs, false",
    "apfs, false",
    "zfs, false"
  })
  void isOnNetwork_tellsSharedHomesFromOwnDisks(String type, boolean expected) {
    assertThat(NativeLibraries.isOnNetwork(type)).isEqualTo(expected);
  }

  @Test
  void ownFolder_isMadeForTheUserAloneAndFoundAgain() throws Exception {
    Path made = NativeLibraries.ownFolder(folder, "ada");

    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(made)))
        .isEqualTo("rwx------");
    assertThat(NativeLibraries.ownFolder(folder, "ada")).isEqualTo(made);
  }

  @Test
  void ownFolder_thatOthersMayWriteTo_isRefused() throws Exception {
    Path open = Files.createDirectory(folder.resolve("eellm-ada"));
    Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));

    assertThatThrownBy(() -> NativeLibraries.ownFolder(folder, "ada"))
        .hasMessageContaining("is not a folder of this user's alone");
  }
}
