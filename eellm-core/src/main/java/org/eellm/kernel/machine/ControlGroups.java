package org.eellm.kernel.machine;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

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

  private static final Pattern DIGITS = Pattern.compile("\\d{1,18}");

  /** Bytes that the processes of a group may take together; without end if nothing limits them. */
  long memoryLimit() {
    return groups("memory").mapToLong(ControlGroups::memory).min().orElse(Long.MAX_VALUE);
  }

  /** Processors' time that they may take together, in whole processors, at least 1. */
  int processorLimit() {
    double least = groups("cpu").mapToDouble(ControlGroups::processors).min().orElse(Integer.MAX_VALUE);
    return Math.max(1, (int) least);
  }

  /** The groups that a controller limits this process by: its own, and those above. */
  private Stream<Path> groups(String controller) {
    return lines(root.resolve("proc/self/mountinfo")).stream()
        .map(MOUNT::matcher)
        .filter(Matcher::matches)
        .flatMap(
            mount -> {
              boolean second = mount.group(3).equals("cgroup2");
              return second || List.of(mount.group(4).split(",")).contains(controller)
                  ? groups(controller, inRoot(mount.group(2)), mount.group(1), second)
                  : Stream.empty();
            });
  }

  private Stream<Path> groups(String controller, Path mount, String mountRoot, boolean second) {
    return lines(root.resolve("proc/self/cgroup")).stream()
        .map(GROUP::matcher)
        .filter(Matcher::matches)
        .filter(
            group ->
                second
                    ? group.group(1).equals("0")
                    : List.of(group.group(2).split(",")).contains(controller))
        .map(group -> mount.resolve(below(mountRoot, group.group(3))))
        .flatMap(
            group -> Stream.iterate(group, at -> at != null && at.startsWith(mount), Path::getParent));
  }

  /** A group's path below what is mounted; the mount itself for one that a container cannot see. */
  private static String below(String mountRoot, String group) {
    boolean seen = group.startsWith(mountRoot) && !group.startsWith("/..");
    String path = seen ? group.substring(mountRoot.length()) : "";
    return path.startsWith("/") ? path.substring(1) : path;
  }

  private static long memory(Path group) {
    return LIMITS.stream()
        .flatMap(name -> lines(group.resolve(name)).stream())
        .filter(value -> DIGITS.matcher(value).matches()) // the others are "max"
        .mapToLong(Long::parseLong)
        .min()
        .orElse(Long.MAX_VALUE);
  }

  /** A quota of each period, both in microseconds; no number is no quota. */
  private static double processors(Path group) {
    List<String> times = // in one file in version 2, in two in version 1
        Stream.of("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
            .flatMap(name -> lines(group.resolve(name)).stream())
            .flatMap(line -> Stream.of(line.split(" ")))
            .toList();
    return times.size() == 2 && times.stream().allMatch(time -> DIGITS.matcher(time).matches())
        ? Double.parseDouble(times.getFirst()) / Double.parseDouble(times.getLast())
        : Integer.MAX_VALUE;
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
