package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.InputStream;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.CodeModel;
import java.lang.classfile.attribute.CodeAttribute;
import java.lang.classfile.instruction.InvokeInstruction;
import java.lang.constant.ConstantDescs;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.kernel.vector.Lanes;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What decoding runs for every token leaves no vectors on the Java heap, whatever the JVM's
 * compiler makes of its callers (see {@link Lanes}).
 */
@Tag("vectors")
final class WrittenOutTest {
  private static final String VECTORS = "jdk/incubator/vector/";

  @ParameterizedTest
  @ValueSource(strings = {"matmul.VectorTile"})
  void methods_thatWorkOnVectors_areNeverInlinedAndCallNoneOfOurs(String name) throws Exception {
    Class<?> type = Class.forName("org.eellm.kernel." + name);
    try (InputStream bytes = type.getResourceAsStream(type.getSimpleName() + ".class")) {
      ClassModel model = ClassFile.of().parse(bytes.readAllBytes());
      model
          .methods()
          .forEach(
              method -> {
                String own = method.methodName().stringValue();
                if (method.code().isPresent() && !own.equals(ConstantDescs.CLASS_INIT_NAME)) {
                  check(type.getSimpleName() + "." + own, method.code().get());
                }
              });
    }
  }

  private static void check(String name, CodeModel code) {
    List<InvokeInstruction> calls =
        code.elementStream()
            .filter(InvokeInstruction.class::isInstance)
            .map(InvokeInstruction.class::cast)
            .toList();
    Stream<String> ours =
        calls.stream()
            .filter(call -> !call.owner().asInternalName().startsWith(VECTORS))
            .filter(call -> call.type().stringValue().contains(VECTORS))
            .map(call -> call.name().stringValue());
    assertThat(ours).as("what %s calls", name).isEmpty();
    if (calls.stream().anyMatch(call -> call.type().stringValue().contains(VECTORS))) {
      assertThat(((CodeAttribute) code).codeLength())
          .as("bytes of %s", name)
          .isGreaterThan(Lanes.INLINED_BYTES);
    }
  }
}
