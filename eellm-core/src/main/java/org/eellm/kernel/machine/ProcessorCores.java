package org.eellm.kernel.machine;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The cores that this process may run on, as Linux tells them: a core with hyper-threads is several
 * of the system's processors.
 *
 * @param root of the file system
 */
record ProcessorCores(Path root) {
  private static final Pattern ALLOWED = Pattern.compile("Cpus_allowed_list:\\s*([0-9,-]+)");
  private static final Path SIBLINGS = Path.of("topology", "thread_siblings_list");

  /** How many; more than any machine has where the system does not tell. */
  int count() {
    Path processors = root.resolve("sys/devices/system/cpu");
    List<String> cores =
        lines(root.resolve("proc/self/status"))
            .map(ALLOWED::matcher)
            .filter(Matcher::matches)
            .flatMap(line -> numbers(line.group(1)).boxed())
            .flatMap(number -> lines(processors.resolve("cpu" + number).resolve(SIBLINGS)))
            .distinct()
            .toList();
    return cores.isEmpty() ? Integer.MAX_VALUE : cores.size();
  }

  /** Of a list such as 0-3,8. */
  private static IntStream numbers(String list) {
    return Stream.of(list.split(","))
        .flatMapToInt(
            range -> {
              String[] ends = range.split("-");
              return IntStream.rangeClosed(
                  Integer.parseInt(ends[0]), Integer.parseInt(ends[ends.length - 1]));
            });
  }

  private static Stream<String> lines(Path file) {
    try {
      return Files.isReadable(file) ? Files.readAllLines(file).stream() : Stream.empty();
    } catch (IOException e) {
      return Stream.empty(); // as where the system does not tell
    }
  }
}
