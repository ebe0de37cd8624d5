package org.eellm.kernel.machine;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The control groups of Linux that this process is in, of version 1 and 2, as its container sees
 * them. Java looks at the innermost group alone; a limit of any group above it ends the process
 * just as well.
 *
 * @param root of the file system
 */
record ControlGroups(Path root) {
  /** Version 1 has the first of these, version 2 the others. */
  private static final List<String> LIMITS =
      List.of("memory.limit_in_bytes", "memory.max", "memory.high");

  /** A line of mountinfo: the root of the mount, where it lies, the file system, its options. */
  private static final Pattern MOUNT =
      Pattern.compile("\\S+ \\S+ \\S+ (\\S+) (\\S+) .* - (cgroup2?) \\S+ (\\S+)");

  /** A line of the process's groups: version 2 has 0 and no controllers. */
  private static final Pattern GROUP = Pattern.compile("(\\d+):([^:]*):(.*)");

  private static final Pattern BYTES = Pattern.compile("\\d{1,18}");

  /** Bytes that the processes of a group may take together; without end if nothing limits them. */
  long memoryLimit() {
    long least = Long.MAX_VALUE;
    for (String line : lines(root.resolve("proc/self/mountinfo"))) {
      Matcher mount = MOUNT.matcher(line);
      if (mount.matches()) {
        boolean second = mount.group(3).equals("cgroup2");
        if (second || List.of(mount.group(4).split(",")).contains("memory")) {
          least = Math.min(least, memoryLimit(inRoot(mount.group(2)), mount.group(1), second));
        }
      }
    }
    return least;
  }

  private long memoryLimit(Path mount, String mountRoot, boolean second) {
    long least = Long.MAX_VALUE;
    for (String line : lines(root.resolve("proc/self/cgroup"))) {
      Matcher group = GROUP.matcher(line);
      if (group.matches()
          && (second
              ? group.group(1).equals("0")
              : List.of(group.group(2).split(",")).contains("memory"))) {
        Path at = mount.resolve(below(mountRoot, group.group(3)));
        for (; at != null && at.startsWith(mount); at = at.getParent()) {
          least = Math.min(least, limit(at));
        }
      }
    }
    return least;
  }

  /** A group's path below what is mounted; the mount itself for one that a container cannot see. */
  private static String below(String mountRoot, String group) {
    boolean seen = group.startsWith(mountRoot) && !group.startsWith("/..");
    String path = seen ? group.substring(mountRoot.length()) : "";
    return path.startsWith("/") ? path.substring(1) : path;
  }

  private static long limit(Path group) {
    return LIMITS.stream()
        .flatMap(name -> lines(group.resolve(name)).stream())
        .filter(value -> BYTES.matcher(value).matches()) // the others are "max"
        .mapToLong(Long::parseLong)
        .min()
        .orElse(Long.MAX_VALUE);
  }

  private Path inRoot(String absolute) {
    return root.resolve(absolute.substring(1));
  }

  private static List<String> lines(Path file) {
    try {
      return Files.isReadable(file) ? Files.readAllLines(file) : List.of();
    } catch (IOException e) {
      throw new UncheckedIOException(file + " cannot be read", e);
    }
  }
}
