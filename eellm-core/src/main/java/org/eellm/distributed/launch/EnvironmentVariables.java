package org.eellm.distributed.launch;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.distributed.DistributedException;

/** Variables of the environment, read with messages that name them. */
record EnvironmentVariables(Map<String, String> variables) {
  /** Ports for jobs that name none: below those that systems give out by themselves. */
  private static final int FIRST_PORT = 20_000;

  private static final int PORTS = 10_000;

  /** Whether {@code name} is set and not empty. */
  boolean has(String name) {
    return text(name).isPresent();
  }

  Optional<String> text(String name) {
    return Optional.ofNullable(variables.get(name)).filter(value -> !value.isBlank());
  }

  OptionalInt number(String name) {
    return text(name).stream().mapToInt(value -> parse(name, value)).findFirst();
  }

  /**
   * A number that has to be there.
   *
   * @param because the variable whose presence asks for it
   */
  int requireNumber(String name, String because) {
    return parse(name, requireText(name, because));
  }

  /**
   * A text that has to be there.
   *
   * @param because the variable whose presence asks for it
   */
  String requireText(String name, String because) {
    return text(name)
        .orElseThrow(
            () ->
                new DistributedException(
                    "%s=%s is set, but %s is not; set it, or unset %s to run alone"
                        .formatted(because, variables.get(because), name, because)));
  }

  /** Refuses an index that is not below its count. */
  void requireBelow(String index, int value, String count, int limit) {
    if (value < 0 || value >= limit) {
      throw new DistributedException(
          "%s=%d is not below %s=%d; ranks count from 0".formatted(index, value, count, limit));
    }
  }

  /** A port that was named, or one that follows from the job, so that jobs do not meet. */
  int port(String name, Object job) {
    int port = number(name).orElse(FIRST_PORT + Math.floorMod(job.hashCode(), PORTS));
    if (port < 1 || port > 0xffff) {
      throw new DistributedException("%s=%d is no port; use 1 to 65535".formatted(name, port));
    }
    return port;
  }

  private static int parse(String name, String value) {
    try {
      return Integer.parseInt(value.strip());
    } catch (NumberFormatException e) {
      throw new DistributedException("%s=%s is not a whole number".formatted(name, value), e);
    }
  }
}
