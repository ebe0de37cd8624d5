package org.eellm.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.CharacterCodingException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class InputFilesTest {
  @TempDir private Path folder;

  @Test
  void text_ofAFile_isBounded() throws IOException {
    Path file = Files.writeString(folder.resolve("a"), "naïve");
    assertThat(InputFiles.text(file, 6)).isEqualTo("naïve");
    assertRefused(() -> InputFiles.text(file, 5), "has 6 bytes; a file of its kind has 5 at most");
    Files.write(file, new byte[] {'a', (byte) 0xE9});
    assertThatThrownBy(() -> InputFiles.text(file, 6)).isInstanceOf(CharacterCodingException.class);
    assertThatThrownBy(() -> InputFiles.text(folder.resolve("none"), 6))
        .isInstanceOf(NoSuchFileException.class);
  }

  @Test
  void pipesDevicesAndFolders_areNotOpened() throws Exception {
    Path pipe = pipe();
    Path zero = Files.createSymbolicLink(folder.resolve("zero"), Path.of("/dev/zero"));
    for (Path file : new Path[] {pipe, zero, Path.of("/dev/zero")}) {
      String message = "is a pipe or a device; give a regular file";
      assertRefused(() -> InputFiles.text(file, 6), message);
      assertRefused(() -> InputFiles.stream(file).close(), message);
      assertRefused(() -> InputFiles.channel(file).close(), message);
    }
    assertRefused(() -> InputFiles.text(folder, 6), "is a folder; give a file");
  }

  /** As in {@code --prompt-file <(command)}, where the shell has opened the pipe. */
  @Test
  void text_ofAPipeThatIsOpen_isReadAndBounded() throws Exception {
    Path pipe = pipe();
    try (RandomAccessFile both = new RandomAccessFile(pipe.toFile(), "rw")) {
      Path opened = descriptor(pipe);
      both.write("abc".getBytes(java.nio.charset.StandardCharsets.UTF_8));
      assertRefused(() -> InputFiles.text(opened, 2), "has more than 2 bytes");
      both.write("abc".getBytes(java.nio.charset.StandardCharsets.UTF_8));
      Thread writer =
          Thread.ofPlatform()
              .start(
                  () -> {
                    try {
                      Thread.sleep(500); // the reader has it open by then
                      both.close();
                    } catch (IOException | InterruptedException e) {
                      throw new IllegalStateException(e);
                    }
                  });
      assertThat(InputFiles.text(opened, 100)).isEqualTo("abc");
      writer.join();
    }
  }

  private static Path descriptor(Path file) throws IOException {
    try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
      return all.filter(each -> leadsTo(each, file)).findFirst().orElseThrow();
    }
  }

  private static boolean leadsTo(Path descriptor, Path file) {
    try {
      return Files.readSymbolicLink(descriptor).equals(file);
    } catch (IOException gone) {
      return false;
    }
  }

  private Path pipe() throws IOException, InterruptedException {
    Path pipe = folder.toRealPath().resolve("pipe");
    assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor()).isZero();
    return pipe;
  }

  private static void assertRefused(ThrowingCallable reading, String reason) {
    assertThatThrownBy(reading)
        .isInstanceOfSatisfying(
            FileSystemException.class,
            failure -> assertThat(failure.getReason()).startsWith(reason));
  }
}
