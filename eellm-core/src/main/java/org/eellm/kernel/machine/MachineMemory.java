package org.eellm.kernel.machine;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/** Memory that this process may use. */
public final class MachineMemory {
  private MachineMemory() {}

  /** In bytes: the machine's, or its container's limit; without end where the JVM cannot say. */
  public static long bytes() {
    return ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system
        ? system.getTotalMemorySize()
        : Long.MAX_VALUE;
  }
}
