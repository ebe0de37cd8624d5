package org.eellm.cost;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ModelConfig.Attention;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.setting.RecordCopy;
import org.eellm.config.yaml.StrictYaml;

/**
 * Memory, rates and price of a machine for a plan, one of its devices at a time. With several ranks
 * on a machine's CPU, a device is what one rank gets of it while all are busy.
 *
 * @param name for people
 * @param device what its tensors live on; decides which of eellm's operations run
 * @param memoryGib memory of a device
 * @param baseGib what a rank takes of it before there are tensors: the process and its libraries,
 *     or the GPU's context
 * @param devicesPerNode devices that are joined by {@code insideNode}
 * @param float32 matrix products in float32
 * @param bfloat16 matrix products in bfloat16
 * @param streamGbPerSecond what elementwise operations read and write, in 1e9 bytes a second
 * @param memoryGbPerSecond the same for vectors far larger than any cache, such as the optimizer's
 * @param operationMicroseconds what an operation takes beside its work
 * @param insideNode between devices of a node
 * @param betweenNodes between devices of two nodes, of each device; null where there is one node
 * @param overlaps whether sums of gradients go on beside computation without slowing it
 * @param dollarsPerHour the price of a device, if it has one
 */
public record Hardware(
    String name,
    Device device,
    double memoryGib,
    double baseGib,
    int devicesPerNode,
    MatrixRates float32,
    MatrixRates bfloat16,
    double streamGbPerSecond,
    double memoryGbPerSecond,
    double operationMicroseconds,
    Connection insideNode,
    Optional<Connection> betweenNodes,
    boolean overlaps,
    Optional<Double> dollarsPerHour) {

  /** The profiles that come with eellm. */
  public static final List<String> PRESETS = List.of("a100-80gb", "h100-80gb", "rtx4090-24gb");

  /**
   * Rates of matrix products in 1e12 operations a second.
   *
   * @param peak what utilization is a share of
   * @param product what large products reach
   * @param attention what attention's small products reach
   */
  public record MatrixRates(double peak, double product, double attention) {
    public MatrixRates {
      positive("peak", peak);
      positive("product", product);
      positive("attention", attention);
    }
  }

  /**
   * A way between two devices.
   *
   * @param microseconds what a message takes beside its bytes
   * @param gbPerSecond in one direction, in 1e9 bytes a second
   */
  public record Link(double microseconds, double gbPerSecond) {
    public Link {
      positive("gb_per_second", gbPerSecond);
      ConfigException.requireNotNegative(microseconds, "microseconds", "use 0 or more");
    }

    /** Time of a message. */
    public double seconds(double bytes) {
      return microseconds / 1e6 + bytes / (gbPerSecond * 1e9);
    }
  }

  /**
   * The links between devices, for messages and for collectives.
   *
   * @param message from one to another
   * @param collective what ranks that compute together reach in each round of an exchange with all
   *     others, waiting for the slowest of them included
   */
  public record Connection(Link message, Link collective) {}

  public Hardware {
    positive("memory_gib", memoryGib);
    positive("devices_per_node", devicesPerNode);
    positive("stream_gb_per_second", streamGbPerSecond);
    positive("memory_gb_per_second", memoryGbPerSecond);
    if (!(baseGib >= 0 && baseGib < memoryGib)) {
      throw new ConfigException(
          "base_gib: %s is outside [0, memory_gib %s)".formatted(baseGib, memoryGib));
    }
    ConfigException.requireNotNegative(
        operationMicroseconds, "operation_microseconds", "use 0 or more");
    dollarsPerHour.ifPresent(price -> positive("dollars_per_hour", price));
  }

  private static void positive(String key, double value) {
    if (!(value > 0 && Double.isFinite(value))) {
      throw new ConfigException(key + ": " + value + " is not positive");
    }
  }

  /**
   * A profile by its name, or from a file.
   *
   * @throws ConfigException if there is none, or it is not a profile
   */
  public static Hardware read(String nameOrFile) {
    if (!PRESETS.contains(nameOrFile)) {
      if (!nameOrFile.endsWith(".yaml")) {
        throw new ConfigException(
            "hardware %s: is unknown; use one of %s, or a .yaml file of your own (docs/plan.md)"
                .formatted(nameOrFile, String.join(", ", PRESETS)));
      }
      return StrictYaml.read(Path.of(nameOrFile), Hardware.class);
    }
    String resource = nameOrFile + ".yaml";
    try (InputStream stream = Hardware.class.getResourceAsStream(resource)) {
      if (stream == null) {
        throw new IllegalStateException(resource + " is not part of this build");
      }
      String yaml = new String(stream.readAllBytes(), StandardCharsets.UTF_8);
      return StrictYaml.parse(yaml, resource, Hardware.class);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Rates of products in a number format. */
  public MatrixRates rates(DataType type) {
    return switch (type) {
      case FLOAT32 -> float32;
      case BFLOAT16 -> bfloat16;
    };
  }

  /**
   * This hardware with other figures.
   *
   * @param streamRate {@code streamGbPerSecond}
   * @param base {@code baseGib}
   */
  public Hardware with(double streamRate, double base) {
    return RecordCopy.with(this, Map.of("streamGbPerSecond", streamRate, "baseGib", base));
  }

  /**
   * Whether libtorch's fused kernels attend in training: not with dropout of probabilities, where
   * documents end attention, or in a ring.
   */
  boolean fusesAttention(RunConfig config, Attention attention) {
    return device == Device.CUDA
        && attention.softcap() == 0
        && attention.window() >= config.data().sequenceLength()
        && config.model().attentionDropout() == 0
        && config.data().attendAcrossDocuments()
        && config.parallel().cp() == 1;
  }

  /** Memory of a device, in bytes. */
  public long memoryBytes() {
    return Math.round(memoryGib * (1L << 30));
  }

  /** Memory that a rank takes before there are tensors, in bytes. */
  public long baseBytes() {
    return Math.round(baseGib * (1L << 30));
  }

  /**
   * The connection of ranks, of which consecutive ones are on consecutive devices.
   *
   * @throws ConfigException if they are on several nodes, and nothing joins these
   */
  public Connection connection(int ranksSpanned) {
    return ranksSpanned <= devicesPerNode
        ? insideNode
        : betweenNodes.orElseThrow(
            () ->
                new ConfigException(
                    "hardware %s: %d ranks need several nodes of %d devices, and between_nodes is"
                            .formatted(name, ranksSpanned, devicesPerNode)
                        + " null; give it, or plan for fewer devices"));
  }
}
