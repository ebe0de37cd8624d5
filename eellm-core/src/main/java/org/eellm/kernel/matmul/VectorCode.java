package org.eellm.kernel.matmul;

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
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteOrder;
import java.util.function.Consumer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.Vector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;

/** Writes calls of the Vector API as bytecode; operands are on the stack. */
record VectorCode(CodeBuilder code) {
  public static final ClassDesc FLOATS = ClassDesc.of(FloatVector.class.getName());
  public static final ClassDesc INTS = ClassDesc.of(IntVector.class.getName());
  public static final ClassDesc SHORTS = ClassDesc.of(ShortVector.class.getName());
  private static final ClassDesc VECTOR = ClassDesc.of(Vector.class.getName());
  private static final ClassDesc SPECIES = ClassDesc.of(VectorSpecies.class.getName());
  private static final ClassDesc SEGMENT = ClassDesc.of(MemorySegment.class.getName());
  private static final ClassDesc ORDER = ClassDesc.of(ByteOrder.class.getName());
  private static final ClassDesc OPERATORS = ClassDesc.of(VectorOperators.class.getName());
  private static final ClassDesc BINARY = OPERATORS.nested("Binary");
  private static final ClassDesc ASSOCIATIVE = OPERATORS.nested("Associative");
  private static final ClassDesc CONVERSION = OPERATORS.nested("Conversion");
  private static final ClassDesc LANES = ClassDesc.of(Lanes.class.getName());
  private static final ClassDesc NUMBERS = ClassDesc.of(NativeNumbers.class.getName());

  /**
   * A new object of a new class that has one method, {@code run}.
   *
   * @param of the interface that it implements
   * @param body writes the method
   */
  public static <T> T define(Class<T> of, MethodTypeDesc run, Consumer<CodeBuilder> body) {
    byte[] bytes =
        ClassFile.of()
            .build(
                ClassDesc.of(of.getName() + "Variant"),
                type ->
                    type.withFlags(ACC_FINAL)
                        .withInterfaceSymbols(ClassDesc.of(of.getName()))
                        .withMethodBody(
                            INIT_NAME,
                            MTD_void,
                            ACC_PUBLIC,
                            code ->
                                code.aload(0)
                                    .invokespecial(CD_Object, INIT_NAME, MTD_void)
                                    .return_())
                        .withMethodBody("run", run, ACC_PUBLIC | ACC_FINAL, body));
    try {
      MethodHandles.Lookup kernel = MethodHandles.lookup().defineHiddenClass(bytes, true);
      return of.cast(
          kernel.findConstructor(kernel.lookupClass(), MethodType.methodType(void.class)).invoke());
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("a kernel that is a " + of.getSimpleName(), e);
    }
  }

  /** Loads a vector from the address that a piece of code puts on the stack. */
  public void load(ClassDesc type, Runnable address) {
    species(type);
    memory();
    address.run();
    order();
    code.invokestatic(
        type, "fromMemorySegment", MethodTypeDesc.of(type, SPECIES, SEGMENT, CD_long, ORDER));
  }

  /** Stores the vector on the stack. */
  public void store(Runnable address) {
    memory();
    address.run();
    order();
    code.invokevirtual(
        FLOATS, "intoMemorySegment", MethodTypeDesc.of(CD_void, SEGMENT, CD_long, ORDER));
  }

  public void zero() {
    species(FLOATS);
    code.invokestatic(FLOATS, "zero", MethodTypeDesc.of(FLOATS, SPECIES));
  }

  /** A vector of the number that a piece of code puts on the stack. */
  public void broadcast(Runnable number) {
    species(FLOATS);
    number.run();
    code.invokestatic(FLOATS, "broadcast", MethodTypeDesc.of(FLOATS, SPECIES, CD_float));
  }

  /** {@code a b + c} of three vectors. */
  public void multiplyAdd() {
    code.invokevirtual(FLOATS, "fma", MethodTypeDesc.of(FLOATS, VECTOR, VECTOR));
  }

  /** {@code a + b} of two vectors. */
  public void add() {
    code.invokevirtual(FLOATS, "add", MethodTypeDesc.of(FLOATS, VECTOR));
  }

  /** {@code a b} of two vectors. */
  public void multiply() {
    code.invokevirtual(FLOATS, "mul", MethodTypeDesc.of(FLOATS, VECTOR));
  }

  /** An operation on ints and a constant. */
  public void lanewise(String operator, int by) {
    lanewise(operator, () -> code.loadConstant(by));
  }

  /** An operation on ints and a number that a piece of code puts on the stack. */
  public void lanewise(String operator, Runnable by) {
    code.getstatic(OPERATORS, operator, operator.equals("AND") ? ASSOCIATIVE : BINARY);
    by.run();
    code.invokevirtual(INTS, "lanewise", MethodTypeDesc.of(INTS, BINARY, CD_int));
  }

  /** The bits of ints as float32. */
  public void bitsAsFloats() {
    code.invokevirtual(INTS, "reinterpretAsFloats", MethodTypeDesc.of(FLOATS));
  }

  /** Numbers that are ints as float32. */
  public void toFloats() {
    code.getstatic(OPERATORS, "I2F", CONVERSION).iconst_0();
    code.invokevirtual(INTS, "convert", MethodTypeDesc.of(VECTOR, CONVERSION, CD_int));
    code.checkcast(FLOATS);
  }

  /** Shorts as ints, with their sign. */
  public void widen() {
    code.getstatic(OPERATORS, "S2I", CONVERSION);
    species(INTS);
    code.iconst_0();
    code.invokevirtual(
        SHORTS, "convertShape", MethodTypeDesc.of(VECTOR, CONVERSION, SPECIES, CD_int));
    code.checkcast(INTS);
  }

  private void species(ClassDesc type) {
    String name = type.equals(FLOATS) ? "FLOATS" : type.equals(INTS) ? "INTS" : "SHORTS";
    code.getstatic(LANES, name, SPECIES);
  }

  private void memory() {
    code.getstatic(NUMBERS, "MEMORY", SEGMENT);
  }

  private void order() {
    code.getstatic(NUMBERS, "ORDER", ORDER);
  }
}
