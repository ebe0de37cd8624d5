package org.eellm.cost;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.Architecture;
import org.eellm.config.ModelConfig;
import org.eellm.config.OptimizerConfig.Algorithm;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;

/** Memory and time of Muon on a rank, beside what every optimizer takes. */
public final class MuonCosts {
  /** Polynomials that a matrix goes through, each of three products. */
  public static final int POLYNOMIALS = 3;

  /** Elements that are orthogonalised at once, if a matrix has no more. */
  public static final long BATCH = 4L << 20;

  private final RunConfig config;
  private final Architecture architecture;
  private final ParallelConfig mesh;
  private final Hardware hardware;

  public MuonCosts(RunConfig config, Hardware hardware) {
    this.config = config;
    this.architecture = config.architecture();
    this.mesh = config.parallel();
    this.hardware = hardware;
  }

  /** A whole matrix between hidden states. */
  private record Matrix(long out, long in) {
    long numel() {
      return out * in;
    }

    double operations() {
      return MuonCosts.operations(out, in);
    }
  }

  /** Floating-point operations of a matrix: X X^T, its square, and the product with X. */
  public static double operations(long out, long in) {
    double small = Math.min(out, in);
    double large = Math.max(out, in);
    return POLYNOMIALS * (4 * small * small * large + 2 * small * small * small);
  }

  /** The matrices that Muon updates in slices; none with another optimizer. */
  private List<Matrix> matrices(List<Slice> slices) {
    List<Matrix> matrices = new ArrayList<>();
    if (config.optimizer().algorithm() == Algorithm.MUON) {
      for (Slice slice : slices) {
        for (int layer = 0; layer < slice.layers(); layer++) {
          addLayer(matrices);
        }
        for (int exit = 0; exit < slice.exits().size(); exit++) {
          if (architecture.exits().block()) {
            addLayer(matrices);
          }
          if (architecture.exits().mlp()) {
            addMlp(matrices);
          }
        }
      }
    }
    return matrices;
  }

  private void addLayer(List<Matrix> matrices) {
    ModelConfig model = architecture.model();
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = (long) model.numKeyValueHeads() * model.headDim();
    matrices.add(new Matrix(query, model.hiddenSize()));
    matrices.add(new Matrix(keyValue, model.hiddenSize()));
    matrices.add(new Matrix(keyValue, model.hiddenSize()));
    matrices.add(new Matrix(model.hiddenSize(), query));
    addMlp(matrices);
  }

  private void addMlp(List<Matrix> matrices) {
    ModelConfig model = architecture.model();
    if (model.activation().gated()) {
      matrices.add(new Matrix(model.ffnHiddenSize(), model.hiddenSize()));
    }
    matrices.add(new Matrix(model.ffnHiddenSize(), model.hiddenSize()));
    matrices.add(new Matrix(model.hiddenSize(), model.ffnHiddenSize()));
  }

  /** Elements that a rank with these slices has of the matrices, its share of replicas or not. */
  long elements(List<Slice> slices) {
    return matrices(slices).stream().mapToLong(Matrix::numel).sum() / mesh.tp();
  }

  /**
   * Bytes beside the optimizer's state while it updates: the momenta in the compute format, with
   * several replicas the steps, too, and what a batch of matrices takes.
   *
   * @param parameters of the rank
   */
  long temporary(List<Slice> slices, long parameters) {
    List<Matrix> matrices = matrices(slices);
    if (matrices.isEmpty()) {
      return 0;
    }
    long all = matrices.stream().mapToLong(Matrix::numel).sum();
    long largest = matrices.stream().mapToLong(Matrix::numel).max().orElseThrow();
    long batch = Math.min(all, Math.max(largest, BATCH));
    // The batch, the matrix before and after a polynomial, and two products of it with itself.
    return config.model().dtype().bytes() * ((mesh.copies() > 1 ? 2 : 1) * parameters + 5 * batch);
  }

  /**
   * Seconds of the products, of the exchanges that make matrices whole, and of that of the results.
   * A replica orthogonalises its share of the matrices, of which none is cut.
   *
   * @param parameters of the rank
   */
  public double seconds(List<Slice> slices, long parameters) {
    List<Matrix> matrices = matrices(slices);
    if (matrices.isEmpty()) {
      return 0;
    }
    int bytes = config.model().dtype().bytes();
    double share = Math.max(1.0 / mesh.copies(), 1.0 / matrices.size());
    double operations = matrices.stream().mapToDouble(Matrix::operations).sum();
    double elements = share * matrices.stream().mapToDouble(Matrix::numel).sum();
    double replicas =
        2
            * Collectives.part(
                hardware.connection(mesh.tp() * mesh.copies()).collective(),
                mesh.copies(),
                (double) bytes * parameters);
    double gathers = Math.max(4, elements / BATCH);
    double parts =
        gathers
            * Collectives.part(
                hardware.connection(mesh.tp()).collective(), mesh.tp(), bytes * elements / gathers);
    return share * operations / (hardware.rates(config.model().dtype()).product() * 1e12)
        + replicas
        + parts;
  }
}
