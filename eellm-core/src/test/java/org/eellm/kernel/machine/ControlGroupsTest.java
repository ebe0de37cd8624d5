package org.eellm.kernel.machine;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files as Linux has them, in a folder that stands for the root of the file system. */
final class ControlGroupsTest {
  private static final String FIRST_MOUNT =
      "35 25 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory\n";
  private static final String SECOND_MOUNT =
      "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
  private static final String OTHER_MOUNTS =
      """
      22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
      34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:14 - cgroup cgroup rw,cpu,cpuacct
      """;

  @TempDir private Path root;

  private void write(String path, String text) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
  }

  private void process(String mounts, String groups) throws IOException {
    write("proc/self/mountinfo", OTHER_MOUNTS + mounts);
    write("proc/self/cgroup", groups);
  }

  private long limit() {
    return new ControlGroups(root).memoryLimit();
  }

  @Test
  void memoryLimit_noGroups_isWithoutEnd() throws IOException {
    assertThat(limit()).isEqualTo(Long.MAX_VALUE);
    process("", "");
    assertThat(limit()).isEqualTo(Long.MAX_VALUE);
  }

  @Test
  void memoryLimit_versionOne_isTheLeastOfGroupAndParents() throws IOException {
    process(FIRST_MOUNT, "5:cpu,cpuacct:/other\n4:memory:/pods/one/server\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("sys/fs/cgroup/memory/pods/one/server/memory.limit_in_bytes", "4000000000\n");
    assertThat(limit()).isEqualTo(4_000_000_000L);

    write("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "2600000000\n");
    assertThat(limit()).isEqualTo(2_600_000_000L);
  }

  @Test
  void memoryLimit_versionOneOfAContainer_isReadWhereItIsMounted() throws IOException {
    process(FIRST_MOUNT.replace(" / /sys", " /docker/abc /sys"), "4:memory:/docker/abc\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2600000000\n");
    assertThat(limit()).isEqualTo(2_600_000_000L);
  }

  @Test
  void memoryLimit_versionTwo_isTheLeastOfGroupAndParents() throws IOException {
    process(SECOND_MOUNT, "0::/system.slice/eellm.service\n");
    write("sys/fs/cgroup/system.slice/eellm.service/memory.max", "max\n");
    assertThat(limit()).isEqualTo(Long.MAX_VALUE);

    write("sys/fs/cgroup/system.slice/memory.max", "3000000000\n");
    assertThat(limit()).isEqualTo(3_000_000_000L);

    write("sys/fs/cgroup/system.slice/eellm.service/memory.max", "2600000000\n");
    assertThat(limit()).isEqualTo(2_600_000_000L);

    write("sys/fs/cgroup/system.slice/eellm.service/memory.high", "2000000000\n");
    assertThat(limit()).isEqualTo(2_000_000_000L);
  }

  @Test
  void memoryLimit_versionTwoOfAContainer_isThatOfItsRoot() throws IOException {
    process(SECOND_MOUNT, "0::/\n");
    write("sys/fs/cgroup/memory.max", "500000000\n");
    assertThat(limit()).isEqualTo(500_000_000L);

    process(SECOND_MOUNT, "0::/../../other\n"); // of a process that was moved there
    assertThat(limit()).isEqualTo(500_000_000L);
  }

  @Test
  void memoryLimit_bothVersions_isOfTheOneThatLimitsMemory() throws IOException {
    process(
        FIRST_MOUNT + SECOND_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified "),
        "4:memory:/server\n0::/server\n");
    write("sys/fs/cgroup/memory/server/memory.limit_in_bytes", "2600000000\n");
    assertThat(limit()).isEqualTo(2_600_000_000L);
  }

  private int processors() {
    return new ControlGroups(root).processorLimit();
  }

  @Test
  void processorLimit_noQuota_isWithoutEnd() throws IOException {
    assertThat(processors()).isEqualTo(Integer.MAX_VALUE);
    process(SECOND_MOUNT, "0::/\n");
    write("sys/fs/cgroup/cpu.max", "max 100000\n");
    assertThat(processors()).isEqualTo(Integer.MAX_VALUE);
  }

  @Test
  void processorLimit_versionTwo_isTheLeastQuotaRoundedDown() throws IOException {
    process(SECOND_MOUNT, "0::/pods/server\n");
    write("sys/fs/cgroup/pods/cpu.max", "390000 100000\n");
    assertThat(processors()).isEqualTo(3);
    write("sys/fs/cgroup/pods/server/cpu.max", "110000 100000\n");
    assertThat(processors()).isEqualTo(1);
    write("sys/fs/cgroup/pods/server/cpu.max", "50000 100000\n");
    assertThat(processors()).isEqualTo(1);
  }

  @Test
  void processorLimit_versionOne_isTheQuotaOfItsGroup() throws IOException {
    process("", "5:cpu,cpuacct:/pods\n4:memory:/other\n");
    write("sys/fs/cgroup/cpu,cpuacct/pods/cpu.cfs_quota_us", "-1\n");
    write("sys/fs/cgroup/cpu,cpuacct/pods/cpu.cfs_period_us", "100000\n");
    assertThat(processors()).isEqualTo(Integer.MAX_VALUE);
    write("sys/fs/cgroup/cpu,cpuacct/pods/cpu.cfs_quota_us", "250000\n");
    assertThat(processors()).isEqualTo(2);
  }
}
