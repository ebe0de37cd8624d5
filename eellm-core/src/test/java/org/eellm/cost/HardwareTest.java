package org.eellm.cost;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.yaml.StrictYaml;
import org.eellm.cost.plan.Planner;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class HardwareTest {
  private static final String YAML =
      """
      name: two cores
      device: cpu
      memory_gib: 8
      base_gib: 0.3
      devices_per_node: 2
      float32: {peak: 0.05, product: 0.04, attention: 0.03}
      bfloat16: {peak: 0.2, product: 0.18, attention: 0.15}
      stream_gb_per_second: 20
      memory_gb_per_second: 10
      operation_microseconds: 3
      inside_node:
        message: {microseconds: 70, gb_per_second: 3}
        collective: {microseconds: 300, gb_per_second: 1}
      between_nodes: null
      overlaps: false
      dollars_per_hour: null
      """;

  @TempDir private Path folder;

  private Hardware read(String yaml) throws IOException {
    Path file = folder.resolve("own.yaml");
    Files.writeString(file, yaml);
    return Hardware.read(file.toString());
  }

  @Test
  void read_everyKey_comesThrough() throws IOException {
    Hardware hardware = read(YAML);

    assertThat(hardware.name()).isEqualTo("two cores");
    assertThat(hardware.device()).isEqualTo(Device.CPU);
    assertThat(hardware.memoryBytes()).isEqualTo(8L << 30);
    assertThat(hardware.bfloat16().product()).isEqualTo(0.18);
    assertThat(hardware.dollarsPerHour()).isEmpty();
    assertThat(hardware.connection(2).message().seconds(3e9)).isCloseTo(1 + 70e-6, within(1e-9));
  }

  @Test
  void write_whatWasRead_isReadAgain() throws IOException {
    Hardware hardware = read(YAML);
    Path copy = folder.resolve("copy.yaml");

    StrictYaml.write(hardware, copy);

    assertThat(Hardware.read(copy.toString())).isEqualTo(hardware);
  }

  @Test
  void connection_severalNodesWithoutAWay_isRefused() throws IOException {
    Hardware hardware = read(YAML);
    var config = ConfigFile.preset("30m", List.of("parallel.pp=4"));

    assertThatThrownBy(() -> Planner.plan(config, hardware))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "hardware two cores: 4 ranks need several nodes of 2 devices, and between_nodes is"
                + " null; give it, or plan for fewer devices");
  }

  @Test
  void connection_severalNodes_goesBetweenThem() {
    Hardware hardware = Hardware.read("a100-80gb");

    assertThat(hardware.connection(8)).isEqualTo(hardware.insideNode());
    assertThat(Optional.of(hardware.connection(9))).isEqualTo(hardware.betweenNodes());
  }

  @Test
  void read_wrongValues_sayWhere() {
    assertThatThrownBy(() -> read(YAML.replace("base_gib: 0.3", "base_gib: 9")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("base_gib: 9.0 is outside [0, memory_gib 8.0)");
    assertThatThrownBy(() -> read(YAML.replace("stream_gb", "strem_gb")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("stream_gb_per_second: is missing");
    assertThatThrownBy(() -> read(YAML.replace("overlaps: false\n", "")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("overlaps: is missing");
    assertThatThrownBy(() -> read(YAML.replace("product: 0.18", "product: 0")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("product: 0.0 is not positive");
  }
}
