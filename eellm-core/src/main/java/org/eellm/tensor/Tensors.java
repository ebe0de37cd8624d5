package org.eellm.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Making tensors from Java values and reading them back. */
public final class Tensors {
  private static final MemoryFormatOptional ANY_LAYOUT = anyLayout();

  private Tensors() {}

  private static MemoryFormatOptional anyLayout() {
    try (Scope _ = Scope.open()) {
      return new MemoryFormatOptional().retainReference();
    }
  }

  /** Uninitialised tensor. */
  public static Tensor empty(ScalarType type, Device device, long... shape) {
    return torch.empty(shape, Torch.options(type, device), ANY_LAYOUT);
  }

  public static Tensor zeros(ScalarType type, Device device, long... shape) {
    return torch.zeros(shape, Torch.options(type, device));
  }

  /** int64 tensor of {@code values}, row-major. */
  public static Tensor ofLongs(long[] values, Device device, long... shape) {
    Tensor host = empty(ScalarType.Long, Torch.cpu(), shape);
    require(host.numel() == values.length, values.length, shape);
    new LongPointer(host.data_ptr()).put(values, 0, values.length);
    return onto(host, device);
  }

  /** int64 tensor of {@code values}, row-major. */
  public static Tensor ofInts(int[] values, Device device, long... shape) {
    long[] wide = new long[values.length];
    for (int i = 0; i < values.length; i++) {
      wide[i] = values[i];
    }
    return ofLongs(wide, device, shape);
  }

  /** float32 tensor of {@code values}, row-major. */
  public static Tensor ofFloats(float[] values, Device device, long... shape) {
    Tensor host = empty(ScalarType.Float, Torch.cpu(), shape);
    require(host.numel() == values.length, values.length, shape);
    new FloatPointer(host.data_ptr()).put(values, 0, values.length);
    return onto(host, device);
  }

  /** float64 tensor of {@code values}, row-major. */
  public static Tensor ofDoubles(double[] values, Device device, long... shape) {
    Tensor host = empty(ScalarType.Double, Torch.cpu(), shape);
    require(host.numel() == values.length, values.length, shape);
    new DoublePointer(host.data_ptr()).put(values, 0, values.length);
    return onto(host, device);
  }

  /** All values in row-major order, converted to float64. */
  public static double[] toDoubles(Tensor tensor) {
    try (Scope scope = Scope.open()) {
      Tensor host = tensor.to(Torch.cpu(), ScalarType.Double).contiguous();
      double[] values = new double[Math.toIntExact(host.numel())];
      new DoublePointer(host.data_ptr()).get(values, 0, values.length);
      return values;
    }
  }

  /** All values in row-major order, converted to float32. */
  public static float[] toFloats(Tensor tensor) {
    try (Scope scope = Scope.open()) {
      Tensor host = tensor.to(Torch.cpu(), ScalarType.Float).contiguous();
      float[] values = new float[Math.toIntExact(host.numel())];
      new FloatPointer(host.data_ptr()).get(values, 0, values.length);
      return values;
    }
  }

  /** All values in row-major order, converted to int64. */
  public static long[] toLongs(Tensor tensor) {
    try (Scope scope = Scope.open()) {
      Tensor host = tensor.to(Torch.cpu(), ScalarType.Long).contiguous();
      long[] values = new long[Math.toIntExact(host.numel())];
      new LongPointer(host.data_ptr()).get(values, 0, values.length);
      return values;
    }
  }

  /** Whether all elements are finite numbers; makes a flag of each. */
  public static boolean isFinite(Tensor tensor) {
    try (Scope _ = Scope.open()) {
      return tensor.isfinite().all().item_bool();
    }
  }

  /**
   * The memory of a contiguous CPU tensor, without copying; valid while the tensor lives.
   *
   * @throws TensorException if the tensor is elsewhere or has gaps
   */
  public static MemorySegment bytes(Tensor tensor) {
    if (!tensor.is_contiguous() || !tensor.device().is_cpu()) {
      throw new TensorException("only a contiguous tensor on the CPU has its bytes in one piece");
    }
    return MemorySegment.ofAddress(tensor.data_ptr().address())
        .reinterpret(tensor.numel() * tensor.element_size());
  }

  /**
   * A view of foreign memory as a CPU tensor, without copying; valid while the memory is.
   *
   * @param bytes native memory of exactly the tensor's size
   */
  public static Tensor view(MemorySegment bytes, ScalarType type, long... shape) {
    return torch.from_blob(new Address(bytes.address()), shape, Torch.options(type, Torch.cpu()));
  }

  /**
   * A tensor's number format, one object a format: those that {@code Tensor.scalar_type()} gives
   * equal no constant.
   */
  public static ScalarType scalarType(Tensor tensor) {
    return tensor.scalar_type().intern();
  }

  /**
   * The rows of tensors that agree in all dimensions but the first, one tensor's after another's.
   */
  public static Tensor concatenate(List<Tensor> rows) {
    if (rows.size() == 1) {
      return rows.getFirst();
    }
    try (Scope scope = Scope.open()) {
      return scope.moveToOuter(torch.cat(new TensorVector(rows.toArray(Tensor[]::new)), 0));
    }
  }

  public static Scalar scalar(double value) {
    return new Scalar(value);
  }

  /** On a GPU by way of pinned memory, so that the copy does not wait for the work before it. */
  private static Tensor onto(Tensor host, Device device) {
    return device.is_cpu()
        ? host
        : host.pin_memory().to(device, host.scalar_type(), true, false, new MemoryFormatOptional());
  }

  private static void require(boolean condition, int count, long[] shape) {
    if (!condition) {
      throw new TensorException(
          count + " values do not fill the shape " + java.util.Arrays.toString(shape));
    }
  }

  /** A pointer at a given address: JavaCPP has no public constructor for it. */
  private static final class Address extends Pointer {
    private Address(long address) {
      this.address = address;
    }
  }
}
