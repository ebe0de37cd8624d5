package org.eellm.distributed;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.WorkHandle;

/** A group that does what another does, but for what a test overrides. */
public abstract class ForwardingCommunicator implements Communicator {
  protected final Communicator delegate;

  protected ForwardingCommunicator(Communicator delegate) {
    this.delegate = delegate;
  }

  @Override
  public int rank() {
    return delegate.rank();
  }

  @Override
  public int size() {
    return delegate.size();
  }

  @Override
  public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
    return delegate.allReduce(tensor, reduction);
  }

  @Override
  public WorkHandle reduceScatter(Tensor out, Tensor in) {
    return delegate.reduceScatter(out, in);
  }

  @Override
  public WorkHandle allGather(Tensor out, Tensor in) {
    return delegate.allGather(out, in);
  }

  @Override
  public WorkHandle send(Tensor tensor, int peer, int tag) {
    return delegate.send(tensor, peer, tag);
  }

  @Override
  public WorkHandle receive(Tensor into, int peer, int tag) {
    return delegate.receive(into, peer, tag);
  }

  @Override
  public void barrier() {
    delegate.barrier();
  }

  @Override
  public double[] sum(double... values) {
    return delegate.sum(values);
  }

  @Override
  public List<byte[]> gatherBytes(byte[] mine) {
    return delegate.gatherBytes(mine);
  }

  @Override
  public void close() {
    delegate.close();
  }
}
