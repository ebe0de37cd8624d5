package org.eellm.decode.engine.cpu;

import java.util.Arrays;
import java.util.Locale;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;
import org.eellm.kernel.machine.ExecutableMemory;
import org.eellm.kernel.matmul.SumOrder;

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
   * @throws ConfigException if it says something else, or {@link SumOrder#PROPERTY} does
   */
  public static KernelChoice configured() {
    String order = System.getProperty(SumOrder.PROPERTY, SumOrder.CHAIN.text());
    if (SumOrder.of(order).isEmpty()) {
      throw refusal(SumOrder.PROPERTY, order, "order", SumOrder.values(), SumOrder::text);
    }
    String value = System.getProperty(PROPERTY, "fastest");
    for (KernelChoice choice : values()) {
      if (choice.text().equals(value)) {
        return choice;
      }
    }
    throw refusal(PROPERTY, value, "choice", values(), KernelChoice::text);
  }

  private static <T> ConfigException refusal(
      String property, String value, String what, T[] choices, Function<T, String> text) {
    return new ConfigException(
        "-D%s: '%s' is no %s of kernels; use one of %s in EELLM_JAVA_OPTS"
            .formatted(
                property,
                value,
                what,
                Arrays.stream(choices).map(text).collect(Collectors.joining(", "))));
  }

  private String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
