// Package chaos drives real farm processes through their client library while
// it kills them, and checks what farm promises: nothing acknowledged is lost,
// nothing takes effect twice, the replicas agree.
//
// Traffic is what clients do, with a record of every request and its answer;
// checks compare that record with what the farm says in the end. The package
// knows the farm only as a client does.
package chaos
