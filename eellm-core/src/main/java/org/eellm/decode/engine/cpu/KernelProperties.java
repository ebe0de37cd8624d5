package org.eellm.decode.engine.cpu;

import java.util.Collection;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.kernel.vector.CpuLevel;

/** The system properties that choose kernels of CPUs. */
public final class KernelProperties {
  private static final String OLD_PROPERTY = "eellm.kernel";

  private KernelProperties() {}

  /**
   * Checks them.
   *
   * @throws ConfigException if {@link CpuLevel#PROPERTY} names no level that this machine has, or
   *     {@link SumOrder#PROPERTY} no order, or {@value #OLD_PROPERTY} is set
   */
  public static void check() {
    if (System.getProperty(OLD_PROPERTY) != null) {
      throw new ConfigException(
          "-D%s has no effect; use -D%s=%s in EELLM_JAVA_OPTS"
              .formatted(OLD_PROPERTY, CpuLevel.PROPERTY, CpuLevel.VECTORS.text()));
    }
    String order = System.getProperty(SumOrder.PROPERTY);
    if (order != null && SumOrder.of(order).isEmpty()) {
      List<SumOrder> orders = List.of(SumOrder.values());
      throw refusal(SumOrder.PROPERTY, order, "order of kernels", orders, SumOrder::text);
    }
    String level = System.getProperty(CpuLevel.PROPERTY);
    if (level != null && CpuLevel.of(level).isEmpty()) {
      List<CpuLevel> levels = CpuLevel.available();
      throw refusal(CpuLevel.PROPERTY, level, "level of this machine", levels, CpuLevel::text);
    }
  }

  private static <T> ConfigException refusal(
      String property, String value, String what, Collection<T> choices, Function<T, String> text) {
    return new ConfigException(
        "-D%s: '%s' is no %s; use one of %s in EELLM_JAVA_OPTS"
            .formatted(
                property,
                value,
                what,
                choices.stream().map(text).collect(Collectors.joining(", "))));
  }
}
