package org.eellm.kernel.assembler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What objdump (binutils) reads in machine code, and its listings in the resources of the tests.
 */
public final class Disassembly {
  private static final Path LISTINGS = module().resolve("src/test/resources/listings");
  private static final int VECTOR_BYTES = 32; // of a constant
  private static final boolean WRITES = Boolean.getBoolean("listings.write");
  private static final Pattern LINE = Pattern.compile("\\s*([0-9a-f]+):\\s+(.*)");
  private static final Pattern JUMP = Pattern.compile("(j\\w+|cbn?z \\w+,) +0x([0-9a-f]+)");

  private Disassembly() {}

  /** The folder of the sources, wherever in the repository the tests run. */
  private static Path module() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(folder.resolve("eellm-core"))) {
      folder = folder.getParent();
      if (folder == null) {
        throw new IllegalStateException("no folder above the working directory has eellm-core/");
      }
    }
    return folder.resolve("eellm-core");
  }

  /** Instructions with labels in place of addresses. */
  static List<String> of(byte[] code) throws IOException, InterruptedException {
    return of(code, "objdump", "binutils", "-m", "i386:x86-64", "-M", "intel");
  }

  /** The same of a function of either processor. */
  static List<String> of(MachineCode code) throws IOException, InterruptedException {
    String arm64 = "aarch64-linux-gnu";
    return code.needs().contains(CpuFeature.ASIMD)
        ? of(instructions(code), arm64 + "-objdump", "binutils-" + arm64, "-m", "aarch64")
        : of(instructions(code));
  }

  private static List<String> of(byte[] code, String program, String source, String... options)
      throws IOException, InterruptedException {
    assumeTrue(exists(program), "%s is absent; install %s".formatted(program, source));
    Path file = Files.createTempFile("code", ".bin");
    try {
      Files.write(file, code);
      List<String> command = new ArrayList<>(List.of(program, "-D", "-b", "binary"));
      command.addAll(List.of(options));
      command.addAll(List.of("--no-show-raw-insn", file.toString()));
      Process objdump = new ProcessBuilder(command).redirectErrorStream(true).start();
      String output = new String(objdump.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(objdump.waitFor()).as(output).isZero();
      return withLabels(output);
    } finally {
      Files.delete(file);
    }
  }

  private static boolean exists(String program) {
    return Stream.of(System.getenv("PATH").split(":"))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
  }

  private static List<String> withLabels(String output) {
    Map<Long, String> instructions = new TreeMap<>();
    for (Matcher line : output.lines().map(LINE::matcher).filter(Matcher::matches).toList()) {
      String text = line.group(2).strip().replaceAll("\\s*(#|//) .*", "").replaceAll("\\s+", " ");
      instructions.put(Long.parseLong(line.group(1), 16), text);
    }
    NavigableSet<Long> targets = new TreeSet<>();
    instructions.values().stream()
        .map(JUMP::matcher)
        .filter(Matcher::matches)
        .forEach(jump -> targets.add(Long.parseLong(jump.group(2), 16)));
    List<String> lines = new ArrayList<>();
    instructions.forEach(
        (address, text) -> {
          if (targets.contains(address)) {
            lines.add(label(targets, address) + ":");
          }
          Matcher jump = JUMP.matcher(text);
          lines.add(
              jump.matches()
                  ? jump.group(1) + " " + label(targets, Long.parseLong(jump.group(2), 16))
                  : text);
        });
    return lines;
  }

  private static String label(NavigableSet<Long> targets, long address) {
    return "L" + targets.headSet(address).size();
  }

  private static String needs(MachineCode code) {
    return code.needs().stream().map(CpuFeature::flag).sorted().collect(Collectors.joining(" "));
  }

  private static byte[] instructions(MachineCode code) {
    return Arrays.copyOf(code.bytes(), code.end());
  }

  /** The words behind the instructions. */
  private static Stream<String> constants(MachineCode code) {
    ByteBuffer bytes = ByteBuffer.wrap(code.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    int begin = Math.ceilDiv(code.end(), VECTOR_BYTES) * VECTOR_BYTES;
    return IntStream.iterate(begin, at -> at < code.bytes().length, at -> at + VECTOR_BYTES)
        .mapToObj(at -> "constant 0x%x".formatted(bytes.getLong(at)));
  }

  /** Compares code with its listing, or writes that with {@code -Dlistings.write=true}. */
  public static void check(String name, MachineCode code) throws IOException, InterruptedException {
    List<String> lines =
        Stream.concat(
                Stream.of("; needs " + needs(code)),
                Stream.concat(of(code).stream(), constants(code))
                    .map(line -> line.endsWith(":") ? line : "  " + line))
            .toList();
    Path listing = LISTINGS.resolve(name + ".txt");
    if (WRITES) {
      Files.createDirectories(LISTINGS);
      Files.write(listing, lines);
    }
    assertThat(listing).as("write it with -Dlistings.write=true").exists();
    assertThat(lines).as(name).isEqualTo(Files.readAllLines(listing));
  }
}
