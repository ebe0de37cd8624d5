package org.eellm.kernel.machine;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import org.eellm.kernel.vector.NativeBuffer;

/** Memory that this process may use. */
public final class MachineMemory {
  /**
   * Memory that Java takes beside its heap (classes, compiled code, the compilers' own memory,
   * stacks), and that steps take which score many rows.
   */
  private static final long RESERVE = 192L << 20;

  private MachineMemory() {}

  /**
   * In bytes: the machine's, or the least limit of a container around this process; without end
   * where the JVM cannot say.
   */
  public static long bytes() {
    long limit = new ControlGroups(Path.of("/")).memoryLimit();
    return ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system
        ? Math.min(limit, system.getTotalMemorySize())
        : limit;
  }

  /**
   * The bytes left for further buffers when Java's heap has grown as far as it may: without those
   * that there are already, as weights, and without a reserve. Below 0 if that is too much.
   *
   * @param processes that share the machine, and are alike; their heaps together count as one, for
   *     Java chooses each as if it were alone
   */
  public static long left(int processes) {
    return (bytes() - Runtime.getRuntime().maxMemory()) / processes
        - NativeBuffer.totalBytes()
        - RESERVE;
  }
}
