package org.eellm.tensor;

import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/**
 * A block in which native objects are born: all of them are freed when it closes, but for those
 * handed out with {@link #moveToOuter}. The garbage collector does not see native memory, so every
 * step, microbatch and token runs in one.
 *
 * <p>Scopes nest by thread and close in reverse order.
 */
public final class Scope implements AutoCloseable {
  private final Optional<PointerScope> outer = Optional.ofNullable(PointerScope.getInnerScope());
  private final PointerScope inner = new PointerScope();

  private Scope() {}

  /** Opens a scope inside the thread's innermost one. */
  public static Scope open() {
    return new Scope();
  }

  /**
   * Hands {@code tensor} to the enclosing scope, which then frees it. Without an enclosing scope
   * the caller owns it and frees it with {@code close()}.
   *
   * @return the tensor to go on with
   */
  public Tensor moveToOuter(Tensor tensor) {
    Tensor owned = owned(tensor);
    outer.ifPresentOrElse(scope -> scope.attach(owned), owned::retainReference);
    return owned;
  }

  /**
   * Members of a returned tuple are references into it: they need a handle of their own to outlive
   * it.
   */
  static Tensor owned(Tensor tensor) {
    return tensor.referenceCount() > 0 ? tensor : new Tensor(tensor);
  }

  @Override
  public void close() {
    inner.close();
  }
}
