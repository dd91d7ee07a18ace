package replica

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"farm/api"
)

// Addresses are used again: where a node of this cluster was, one of another may listen
// now. So whoever knows its cluster says with each call which one it means, and a node
// of another refuses: a worker must not take another farm's work, nor a client change
// another farm's namespaces.

// meant is the error of a call that names another cluster than this node's.
func (n *Node) meant(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	mine := n.cluster()
	for _, c := range md.Get(api.ClusterKey) {
		if mine != "" && c != mine {
			return status.Errorf(codes.FailedPrecondition, "this node belongs to cluster %s, the call is for cluster %s", mine, c)
		}
	}
	return nil
}

func (n *Node) meantUnary(ctx context.Context, q any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := n.meant(ctx); err != nil {
		return nil, err
	}
	return handle(ctx, q)
}

func (n *Node) meantStream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := n.meant(s.Context()); err != nil {
		return err
	}
	return handle(srv, s)
}

// naming are the options of a connection whose calls name the cluster, once it is
// known. A request to join says it in its own words, and is answered with the reason.
func naming(cluster func() string) []grpc.DialOption {
	name := func(ctx context.Context, method string) context.Context {
		if c := cluster(); c != "" && method != api.Peers_Join_FullMethodName {
			return metadata.AppendToOutgoingContext(ctx, api.ClusterKey, c)
		}
		return ctx
	}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, q, r any, cc *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return call(name(ctx, method), method, q, r, cc, o...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(name(ctx, method), d, cc, method, o...)
		}),
	}
}
