package org.eellm.kernel;

import static java.lang.classfile.ClassFile.ACC_FINAL;
import static java.lang.classfile.ClassFile.ACC_PUBLIC;
import static java.lang.constant.ConstantDescs.CD_Object;
import static java.lang.constant.ConstantDescs.CD_float;
import static java.lang.constant.ConstantDescs.CD_int;
import static java.lang.constant.ConstantDescs.CD_long;
import static java.lang.constant.ConstantDescs.CD_void;
import static java.lang.constant.ConstantDescs.INIT_NAME;
import static java.lang.constant.ConstantDescs.MTD_void;

import java.lang.classfile.ClassFile;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.Vector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Writes the inner loops of products as bytecode, one for each number of rows and vectors.
 *
 * <p>They cannot be one loop over arrays of vectors, since sums have to stay in registers; nor may
 * they call methods of ours, since the JVM's compiler stops inlining those in a method of this many
 * operations, and every call then allocates its vectors: five to ten times slower, silently. The
 * Vector API's own methods are exempt. So each is written out, by this class.
 */
final class TileKernels {
  private static final ClassDesc FLOATS = ClassDesc.of(FloatVector.class.getName());
  private static final ClassDesc INTS = ClassDesc.of(IntVector.class.getName());
  private static final ClassDesc VECTOR = ClassDesc.of(Vector.class.getName());
  private static final ClassDesc SPECIES = ClassDesc.of(VectorSpecies.class.getName());
  private static final ClassDesc SEGMENT = ClassDesc.of(MemorySegment.class.getName());
  private static final ClassDesc ORDER = ClassDesc.of(ByteOrder.class.getName());
  private static final ClassDesc OPERATORS = ClassDesc.of(VectorOperators.class.getName());
  private static final ClassDesc BINARY = OPERATORS.nested("Binary");
  private static final ClassDesc ASSOCIATIVE = OPERATORS.nested("Associative");
  private static final ClassDesc CONVERSION = OPERATORS.nested("Conversion");
  private static final ClassDesc LANES = ClassDesc.of(Lanes.class.getName());
  private static final ClassDesc KERNEL = ClassDesc.of(TileKernel.class.getName());
  private static final ClassDesc SELF = ClassDesc.of(TileKernel.class.getName() + "Variant");
  private static final MethodTypeDesc RUN =
      MethodTypeDesc.of(
          CD_void,
          CD_long,
          CD_long,
          CD_long,
          CD_long,
          CD_long,
          CD_int,
          CD_float.arrayType(),
          CD_int,
          CD_int,
          CD_long,
          CD_long);

  // Local variables: the parameters, and what follows them.
  private static final int W = 1; // four longs
  private static final int STEP_BYTES = 9;
  private static final int STEPS = 11;
  private static final int X = 12;
  private static final int AT = 13;
  private static final int ROW_INPUTS = 14;
  private static final int Y = 15;
  private static final int ROW_BYTES = 17;
  private static final int STEP = 19; // int
  private static final int OFFSET = 20; // long
  private static final int ROWS = 22; // where rows of x begin, from the first one's begin; ints

  private static final Map<Variant, TileKernel> KERNELS = new ConcurrentHashMap<>();

  private TileKernels() {}

  /**
   * Which kernel.
   *
   * @param rows of x
   * @param streams of weights, 1 to 4
   * @param vectors of outputs in each stream, next to each other
   * @param adds whether the sums begin with what y has
   */
  record Variant(WeightFormat format, int rows, int streams, int vectors, boolean adds) {}

  /** The kernel, written when it is first asked for. */
  static TileKernel of(Variant variant) {
    return KERNELS.computeIfAbsent(variant, TileKernels::define);
  }

  private static TileKernel define(Variant variant) {
    byte[] bytes =
        ClassFile.of()
            .build(
                SELF,
                type ->
                    type.withFlags(ACC_FINAL)
                        .withInterfaceSymbols(KERNEL)
                        .withMethodBody(
                            INIT_NAME,
                            MTD_void,
                            ACC_PUBLIC,
                            code ->
                                code.aload(0)
                                    .invokespecial(CD_Object, INIT_NAME, MTD_void)
                                    .return_())
                        .withMethodBody(
                            "run",
                            RUN,
                            ACC_PUBLIC | ACC_FINAL,
                            code -> new Body(code, variant).write()));
    try {
      MethodHandles.Lookup kernel = MethodHandles.lookup().defineHiddenClass(bytes, true);
      return (TileKernel)
          kernel
              .findConstructor(kernel.lookupClass(), MethodType.methodType(void.class))
              .asType(MethodType.methodType(TileKernel.class))
              .invokeExact();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("a kernel for " + variant, e);
    }
  }

  /** Writes one kernel's loop. */
  private record Body(CodeBuilder code, Variant variant) {

    void write() {
      begin();
      code.iconst_0().istore(STEP).lconst_0().lstore(OFFSET);
      Label loop = code.newLabel();
      Label end = code.newLabel();
      code.labelBinding(loop).iload(STEP).iload(STEPS).if_icmpge(end);
      int inputs = variant.format.inputsTogether();
      int vectors = variant.streams * variant.vectors;
      for (int v = 0; v < vectors; v++) {
        loadWeights(v);
      }
      for (int i = inputs - 1; i >= 0; i--) { // the last first, as vdpbf16ps does
        for (int v = 0; v < vectors; v++) {
          takeInput(v, i);
        }
        for (int row = 0; row < variant.rows; row++) {
          broadcast(row, i);
          for (int v = 0; v < vectors; v++) {
            code.aload(input(v)).aload(broadcasted()).aload(sum(row, v));
            code.invokevirtual(FLOATS, "fma", MethodTypeDesc.of(FLOATS, VECTOR, VECTOR));
            code.astore(sum(row, v));
          }
        }
      }
      code.iinc(STEP, 1);
      code.iload(AT).loadConstant(inputs).iadd().istore(AT);
      code.lload(OFFSET).lload(STEP_BYTES).ladd().lstore(OFFSET);
      code.goto_(loop).labelBinding(end);
      finish();
      code.return_();
    }

    private void begin() {
      for (int row = 0; row < variant.rows; row++) {
        code.iload(ROW_INPUTS).loadConstant(row).imul().istore(ROWS + row);
        for (int v = 0; v < variant.streams * variant.vectors; v++) {
          if (variant.adds) {
            species("FLOATS");
            memory();
            output(row, v);
            order();
            code.invokestatic(
                FLOATS,
                "fromMemorySegment",
                MethodTypeDesc.of(FLOATS, SPECIES, SEGMENT, CD_long, ORDER));
          } else {
            species("FLOATS");
            code.invokestatic(FLOATS, "zero", MethodTypeDesc.of(FLOATS, SPECIES));
          }
          code.astore(sum(row, v));
        }
      }
    }

    private void finish() {
      for (int row = 0; row < variant.rows; row++) {
        for (int v = 0; v < variant.streams * variant.vectors; v++) {
          code.aload(sum(row, v));
          memory();
          output(row, v);
          order();
          code.invokevirtual(
              FLOATS, "intoMemorySegment", MethodTypeDesc.of(CD_void, SEGMENT, CD_long, ORDER));
        }
      }
    }

    /** Puts the address of an output on the stack. */
    private void output(int row, int v) {
      code.lload(Y).lload(ROW_BYTES).loadConstant((long) row).lmul().ladd();
      code.loadConstant((long) v * Lanes.BYTES).ladd();
    }

    private void loadWeights(int v) {
      boolean wide = variant.format == WeightFormat.FLOAT32;
      species(wide ? "FLOATS" : "INTS");
      memory();
      code.lload(W + 2 * (v / variant.vectors)).lload(OFFSET).ladd();
      code.loadConstant((long) (v % variant.vectors) * Lanes.BYTES).ladd();
      order();
      ClassDesc type = wide ? FLOATS : INTS;
      code.invokestatic(
          type, "fromMemorySegment", MethodTypeDesc.of(type, SPECIES, SEGMENT, CD_long, ORDER));
      code.astore(weights(v));
    }

    /** Makes float32 numbers of one input's weights. */
    private void takeInput(int v, int input) {
      code.aload(weights(v));
      switch (variant.format) {
        case FLOAT32 -> {}
        case BFLOAT16 -> {
          if (input == 0) {
            lanewise("LSHL", 16);
          } else {
            lanewise("AND", 0xFFFF0000);
          }
          code.invokevirtual(INTS, "reinterpretAsFloats", MethodTypeDesc.of(FLOATS));
        }
        case INT8 -> {
          if (input < 3) {
            lanewise("LSHL", 24 - 8 * input);
          }
          lanewise("ASHR", 24);
          code.getstatic(OPERATORS, "I2F", CONVERSION).iconst_0();
          code.invokevirtual(INTS, "convert", MethodTypeDesc.of(VECTOR, CONVERSION, CD_int));
          code.checkcast(FLOATS);
        }
      }
      code.astore(input(v));
    }

    private void lanewise(String operator, int by) {
      code.getstatic(OPERATORS, operator, operator.equals("AND") ? ASSOCIATIVE : BINARY);
      code.loadConstant(by);
      code.invokevirtual(INTS, "lanewise", MethodTypeDesc.of(INTS, BINARY, CD_int));
    }

    private void broadcast(int row, int input) {
      species("FLOATS");
      code.aload(X).iload(AT).iload(ROWS + row).iadd().loadConstant(input).iadd().faload();
      code.invokestatic(FLOATS, "broadcast", MethodTypeDesc.of(FLOATS, SPECIES, CD_float));
      code.astore(broadcasted());
    }

    private void species(String name) {
      code.getstatic(LANES, name, SPECIES);
    }

    private void memory() {
      code.getstatic(LANES, "MEMORY", SEGMENT);
    }

    private void order() {
      code.getstatic(LANES, "ORDER", ORDER);
    }

    private int sum(int row, int v) {
      return ROWS + variant.rows + row * variant.streams * variant.vectors + v;
    }

    private int weights(int v) {
      return sum(variant.rows, v);
    }

    private int input(int v) {
      return sum(variant.rows + 1, v);
    }

    private int broadcasted() {
      return sum(variant.rows + 2, 0);
    }
  }
}
