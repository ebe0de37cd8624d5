package org.eellm.kernel.machine;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files as Linux has them, in a folder that stands for the root of the file system. */
final class ProcessorCoresTest {
  @TempDir private Path root;

  private void write(String path, String text) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private void allow(String processors) throws IOException {
    write("proc/self/status", "Name:\tjava\nCpus_allowed:\tff\nCpus_allowed_list:\t" + processors);
  }

  private void siblings(int processor, String list) throws IOException {
    write("sys/devices/system/cpu/cpu" + processor + "/topology/thread_siblings_list", list + "\n");
  }

  private int count() {
    return new ProcessorCores(root).count();
  }

  @Test
  void count_systemThatDoesNotTell_isNoBound() throws IOException {
    assertThat(count()).isEqualTo(Integer.MAX_VALUE);
    allow("0-3\n");
    assertThat(count()).isEqualTo(Integer.MAX_VALUE);
  }

  @Test
  void count_hyperThreads_isThatOfCoresThatMayBeUsed() throws IOException {
    for (int processor = 0; processor < 8; processor++) {
      int first = processor % 4;
      siblings(processor, first + "," + (first + 4));
    }
    allow("0-7\n");
    assertThat(count()).isEqualTo(4);
    allow("0-1,4-5\n");
    assertThat(count()).isEqualTo(2);
    allow("1-3,4\n");
    assertThat(count()).isEqualTo(4);
    allow("6\n");
    assertThat(count()).isEqualTo(1);
  }

  @Test
  void count_coresWithOneThread_isThatOfProcessors() throws IOException {
    for (int processor = 0; processor < 3; processor++) {
      siblings(processor, Integer.toString(processor));
    }
    allow("0-2\n");
    assertThat(count()).isEqualTo(3);
  }
}
