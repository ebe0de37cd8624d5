package org.eellm.model;

import java.lang.foreign.MemorySegment;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Sharding;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * The collectives of tensor parallelism, in the order of a branch: {@link #gather} before a matrix
 * split by rows, {@link #reduce} after one split by columns; backward the other way round.
 *
 * <p>With {@code sequence}, each rank holds its part of the rows (tokens) between the matrices:
 * gather is an all-gather and reduce a reduce-scatter. Rows are tokens of all sequences one after
 * another, so a part may end within a sequence: nothing there looks beyond a token. Without it each
 * rank holds all rows: gather does nothing and reduce is an all-reduce. (Megatron's sequence
 * parallelism, arXiv 2205.05198.)
 *
 * @param group ranks that share the matrices
 * @param sequence whether rows are shared out between the matrices
 */
public record TensorParallel(Communicator group, boolean sequence) {

  /** One rank that holds everything. */
  public static TensorParallel singleRank() {
    return new TensorParallel(Communicator.singleRank(), false);
  }

  /** This rank's place in the group. */
  public int rank() {
    return group.rank();
  }

  public int size() {
    return group.size();
  }

  /** Rows a rank holds between the matrices of {@code rows} rows. */
  public long localRows(long rows) {
    return sequence ? rows / size() : rows;
  }

  /** The number among {@code rows} rows of the first that a rank holds. */
  public long firstRow(long rows) {
    return sequence ? rank() * localRows(rows) : 0;
  }

  /** This rank's rows of all, a view: [n, width] to [localRows(n), width]. */
  public Tensor localRows(Tensor all) {
    return sequence ? all.narrow(0, firstRow(all.size(0)), localRows(all.size(0))) : all;
  }

  /**
   * A tensor that ranks put together, perhaps while something else is computed.
   *
   * @param result complete after {@link #await}
   */
  public record Joint(Tensor result, WorkHandle work) {
    public Tensor await() {
      work.await();
      return result;
    }
  }

  /** All rows of x, of which each rank holds its part: [localRows(n), width] to [n, width]. */
  public Tensor gather(Tensor x) {
    return startGather(x).await();
  }

  Joint startGather(Tensor x) {
    if (!sequence) {
      return new Joint(x, WorkHandle.done());
    }
    try (Scope scope = Scope.open()) {
      Tensor all = Tensors.empty(Tensors.scalarType(x), x.device(), x.size(0) * size(), x.size(1));
      return new Joint(scope.moveToOuter(all), group.allGather(all, x.contiguous()));
    }
  }

  /**
   * The sum over ranks of their partial x, of which each rank gets what it holds: [n, width] to
   * [localRows(n), width]. Without sequence parallelism x itself becomes the sum.
   */
  public Tensor reduce(Tensor x) {
    return startReduce(x).await();
  }

  Joint startReduce(Tensor x) {
    if (!sequence || size() == 1) {
      return new Joint(x, group.allReduce(x, Reduction.SUM));
    }
    try (Scope scope = Scope.open()) {
      Tensor part =
          Tensors.empty(Tensors.scalarType(x), x.device(), localRows(x.size(0)), x.size(1));
      return new Joint(scope.moveToOuter(part), group.reduceScatter(part, x.contiguous()));
    }
  }

  /**
   * The columns of x, of which each rank has its part, on every rank: [n, width / size] to [n,
   * width].
   */
  public Tensor gatherColumns(Tensor x) {
    if (size() == 1) {
      return x;
    }
    try (Scope scope = Scope.open()) {
      long n = x.size(0);
      long part = x.size(1);
      Tensor all = Tensors.empty(Tensors.scalarType(x), x.device(), size(), n, part);
      group.allGather(all, x.contiguous()).await();
      return scope.moveToOuter(all.transpose(0, 1).reshape(n, size() * part));
    }
  }

  /** Makes x its sum over all ranks, each of which has the same rows. */
  void sum(Tensor x) {
    group.allReduce(x, Reduction.SUM).await();
  }

  /** Makes float32 numbers in the CPU's memory their sum over all ranks. */
  public void sum(long address, long count) {
    try (Scope _ = Scope.open()) {
      group.allReduce(floats(address, count), Reduction.SUM).await();
    }
  }

  /**
   * Writes the float32 numbers of all ranks one after another.
   *
   * @param address of this rank's first, in the CPU's memory
   * @param count of this rank's
   * @param all address of the first of them
   */
  public void gather(long address, long count, long all) {
    try (Scope _ = Scope.open()) {
      group.allGather(floats(all, count * size()), floats(address, count)).await();
    }
  }

  private static Tensor floats(long address, long count) {
    return Tensors.view(
        MemorySegment.ofAddress(address).reinterpret(count * Float.BYTES), ScalarType.Float, count);
  }

  /** A parameter put together from the ranks' parts. Every rank of the group calls this. */
  public Tensor whole(Parameter parameter) {
    if (size() == 1 || parameter.split() == Sharding.REPLICATED) {
      return parameter.value();
    }
    try (Scope scope = Scope.open()) {
      Tensor part = parameter.value().contiguous();
      long[] shape = parameter.wholeShape();
      Tensor all = Tensors.empty(Tensors.scalarType(part), part.device(), size() * part.numel());
      group.allGather(all, part.view(-1)).await();
      return scope.moveToOuter(
          parameter.split() == Sharding.ROWS
              ? all.view(shape)
              : all.view(size(), shape[0], shape[1] / size()).transpose(0, 1).reshape(shape));
    }
  }
}
