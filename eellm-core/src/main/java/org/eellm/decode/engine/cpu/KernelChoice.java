package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;
import org.eellm.kernel.machine.ExecutableMemory;

/** Which kernels multiply on CPUs. */
public enum KernelChoice {
  /** The fastest that the processor has. */
  FASTEST,
  /**
   * The Vector API's for products and attention. Where the property says so, all others are, too,
   * as on a processor that has nothing else.
   */
  VECTORS;

  /** The system property that chooses. */
  public static final String PROPERTY = ExecutableMemory.PROPERTY;

  /**
   * The choice that the system property {@value #PROPERTY} names; the fastest where it is not set.
   *
   * @throws ConfigException if it says something else
   */
  public static KernelChoice configured() {
    String value = System.getProperty(PROPERTY, "fastest");
    for (KernelChoice choice : values()) {
      if (choice.text().equals(value)) {
        return choice;
      }
    }
    throw new ConfigException(
        "-D%s: '%s' is no choice of kernels; use one of %s in EELLM_JAVA_OPTS"
            .formatted(
                PROPERTY,
                value,
                Arrays.stream(values()).map(KernelChoice::text).collect(Collectors.joining(", "))));
  }

  private String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
